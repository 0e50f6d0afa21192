// An answer written to a bare socket: for messages that never became a request, and for WebSocket offers.
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { LocalAnswer } from '../enforce/reply.ts'

/** Writes `answer` as HTTP/1.1 and closes the connection once it is out. Never throws. */
export function writeRawAnswer(socket: Duplex, { status, headers, body }: LocalAnswer): void {
  if (!socket.writable || socket.destroyed) {
    socket.destroy()
    return
  }
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`]
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] !== 'connection') lines.push(`${headers[at]}: ${headers[at + 1]}`)
  }
  socket.once('finish', () => socket.destroy())
  const head = `${[...lines, 'connection: close'].join('\r\n')}\r\n\r\n`
  socket.end(Buffer.concat([Buffer.from(head), Buffer.from(body)]))
}
