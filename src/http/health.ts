// The SREs' listener: /metrics, /healthz, /readyz. Not ready says why, in words. Shows no secret and no
// caller's data, and answers without a credential: bind it where only operators can reach it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

/** One thing that has to hold for the gate to be ready. */
export interface Readiness {
  readonly name: string
  readonly ready: boolean
  /** Facts for people: ages, digests, errors. */
  readonly detail: string
}

export interface HealthParts {
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>
  readonly readiness: () => readonly Readiness[] | Promise<readonly Readiness[]>
}

/** Builds the listener; the caller binds it. A part that throws is answered with 500 and ends nothing else. */
export function createHealthListener(parts: HealthParts): Server {
  return createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (req, res) => {
    answer(req, res, parts).catch(() => {
      if (res.headersSent) res.destroy()
      else res.writeHead(500, { 'content-type': 'text/plain' }).end('failed\n')
    })
  })
}

async function answer(req: IncomingMessage, res: ServerResponse, parts: HealthParts): Promise<void> {
  const path = (req.url ?? '').split('?')[0]
  if (req.method !== 'GET' && req.method !== 'HEAD') res.writeHead(405, { allow: 'GET, HEAD' }).end()
  else if (path === '/healthz') res.writeHead(200, { 'content-type': 'text/plain' }).end('ok\n')
  else if (path === '/readyz') {
    const checks = await parts.readiness()
    const ready = checks.every((check) => check.ready)
    const body = `${JSON.stringify({ ready, checks }, null, 2)}\n`
    res.writeHead(ready ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    res.end(body)
  } else if (path === '/metrics') {
    const { contentType, body } = await parts.metrics()
    res.writeHead(200, { 'content-type': contentType }).end(body)
  } else res.writeHead(404).end()
}
