// The sample backend: json-server, a coarse REST API that knows nothing of leases, over a small CRM. One
// static key opens all of it, as such APIs have it; only the gate knows the key.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'

interface JsonServer {
  create(): App
  router(data: object): unknown
  bodyParser: unknown
}
interface App {
  use(handler: unknown): void
  listen(port: number, host: string): Server
}

/** Starts it; resolves once it listens. Rejects with what to install when json-server is not there. */
export function startCrmBackend(options: { host: string; port: number; apiKey: string }): Promise<Server> {
  const jsonServer = loadJsonServer()
  const app = jsonServer.create()
  app.use((req: IncomingMessage, res: ServerResponse, next: () => void) => {
    if (req.headers.authorization === `Bearer ${options.apiKey}`) return next()
    res.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"API key required"}\n')
  })
  app.use(jsonServer.bodyParser)
  app.use(jsonServer.router(structuredClone(crm)))
  return new Promise((resolve, reject) => {
    const server = app.listen(options.port, options.host)
    server.once('listening', () => resolve(server))
    server.once('error', reject)
  })
}

function loadJsonServer(): JsonServer {
  try {
    return createRequire(import.meta.url)('json-server') as JsonServer
  } catch {
    throw new Error(
      'the sample backend is json-server, which is not installed; run: npm install json-server@0.17.4',
    )
  }
}

const crm = {
  customers: [
    {
      id: 9821,
      name: 'Maria Lindqvist',
      email: 'maria@example.com',
      plan: 'business',
      billing: { status: 'overdue', invoice: 'INV-2209', amount: '129.00' },
    },
    {
      id: 1042,
      name: 'Tomás Rivera',
      email: 'tomas@example.com',
      plan: 'starter',
      billing: { status: 'paid', invoice: 'INV-2188', amount: '19.00' },
    },
  ],
}
