// A server with the console's pages and the API's shapes: rich data, hostile texts, and knobs to change it while a
// page is open. Serves the real assets with their real headers. Decides nothing.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { assetEndpoints } from '../../src/http/console/assets.ts'
import { pageHeaders } from '../../src/http/console/security_headers.ts'
import { isRefusal } from '../../src/refusals.ts'
import { type Fixture, fixtureData } from './fixture_data.ts'

export interface FixtureServer extends AsyncDisposable {
  readonly url: string
  readonly data: Fixture
  /** What was posted, in order. */
  readonly posted: { readonly path: string; readonly body: Record<string, unknown>; readonly csrf: unknown }[]
  /** Sends an event to every open page. */
  readonly tell: (event: string, data: unknown) => void
  /** Cuts every event stream. */
  readonly cut: () => void
}

/** Listens on a free port. */
export async function startFixture(leases = 40): Promise<FixtureServer> {
  const data = fixtureData(leases)
  const streams = new Set<ServerResponse>()
  const posted: FixtureServer['posted'] = []
  const assets = new Map(
    assetEndpoints(pageHeaders('http://127.0.0.1')).map((endpoint) => [endpoint.path, endpoint]),
  )

  const server = createServer(async (req, res) => {
    const url = new URL(req.url ?? '/', 'http://fixture')
    const asset = assets.get(url.pathname)
    if (asset !== undefined) return sendAsset(res, await asset.serve(callOf(req)), asset.headers?.())
    if (url.pathname === '/events') return stream(res, streams)
    if (req.method === 'POST') {
      const body = JSON.parse((await bodyOf(req)) || '{}')
      posted.push({ path: url.pathname, body, csrf: req.headers['leasegate-csrf'] })
      const { status, answer } = data.post(url.pathname, body)
      return sendJson(res, status, answer)
    }
    const answer = data.get(url)
    return answer === undefined
      ? sendJson(res, 404, { title: 'not here' })
      : sendJson(res, answer.status ?? 200, answer.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://localhost:${port}`,
    data,
    posted,
    tell(event, value) {
      for (const each of streams) each.write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`)
    },
    cut() {
      for (const each of streams) each.destroy()
      streams.clear()
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function callOf(req: IncomingMessage): Parameters<ReturnType<typeof assetEndpoints>[number]['serve']>[0] {
  return {
    params: {},
    query: new URLSearchParams(),
    json: undefined,
    form: new Map(),
    jwt: '',
    sender: { proofs: [], authorization: false, certificate: undefined, method: 'GET', url: '' },
    header: (name) => req.headersDistinct[name]?.[0],
    caller: undefined,
    origins: { method: 'GET', headers: {} },
    peer: '',
  }
}

type Answer = Awaited<ReturnType<ReturnType<typeof assetEndpoints>[number]['serve']>>

function sendAsset(
  res: ServerResponse,
  answer: Answer,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (isRefusal(answer)) throw new Error('a page was refused')
  res.writeHead(answer.status, { ...headers, ...answer.headers })
  res.end(answer.body)
}

function sendJson(res: ServerResponse, status: number, body: unknown): void {
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  res.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
  res.end(JSON.stringify(body))
}

function stream(res: ServerResponse, streams: Set<ServerResponse>): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  res.write(':\n\n')
  streams.add(res)
  res.on('close', () => streams.delete(res))
}

async function bodyOf(req: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of req) parts.push(part)
  return Buffer.concat(parts).toString()
}
