// How an answer of the gate ends on a client's connection: whole, or cut behind its last words. Decides nothing.
import type { IncomingMessage, ServerResponse } from 'node:http'

const lingerMs = 1_000

/**
 * Ends an answer. While the client is still uploading, what it sends is discarded for up to a second
 * first: closing a socket with unread bytes resets it, and the client would lose the answer (RFC 9112 §9.6).
 */
export function endAnswer(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete) {
    res.end()
    return
  }
  const end = () => {
    clearTimeout(timer)
    res.end()
  }
  const timer = setTimeout(end, lingerMs)
  req.once('end', end)
  res.once('close', () => clearTimeout(timer))
  req.resume()
}

/** Cuts the connection, so that what has been sent of the answer does not look whole. */
export function cutAnswer(req: IncomingMessage, res: ServerResponse): void {
  // HTTP/1.0 has no chunks: there the end of the connection would be that of the answer (RFC 9112 §8).
  if (req.httpVersion === '1.0') req.socket.resetAndDestroy()
  res.destroy()
}

/**
 * Ends the connection behind what has been written of an answer, without its last chunk: nobody may take it for
 * whole (RFC 9112 §8). For up to a second what the client still sends is discarded, as in `endAnswer`.
 */
export function endBehind(req: IncomingMessage): void {
  const { socket } = req
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(timer))
  if (req.complete) {
    socket.destroySoon()
    return
  }
  req.once('end', () => socket.destroySoon())
  socket.end()
  req.resume()
}
