// In: how to answer. Out: a real HTTP or HTTPS server that is told things, and everything that it was told.
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Pair } from './certificates.ts'

/** One request as it came. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface TestReceiver {
  /** Of its one page, with a secret in the path as Slack has it. */
  readonly url: string
  readonly received: readonly Received[]
  close(): void
}

/** Answers each request by its number, from 1. */
export type Answers = (response: ServerResponse, number: number) => void

/** Starts one on a loopback port; with a pair it speaks TLS under the name `localhost`. */
export async function startReceiver(answers: Answers, pair?: Pair): Promise<TestReceiver> {
  const received: Received[] = []
  const server = pair === undefined ? createServer() : createTlsServer({ cert: pair.cert, key: pair.key })
  server.on('request', async (request, response) => {
    const body = await text(request)
    const { method = '', url = '', headers } = request
    answers(response, received.push({ method, path: url, headers, body }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const origin = pair === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`
  return {
    url: `${origin}/services/path-that-is-a-secret`,
    received,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
