// A small CRM that remembers what was done to it: what a backend is to whoever looks at the console. In: requests.
// Out: customers as JSON. Knows nothing of leases.
import type { ServerResponse } from 'node:http'
import type { RecordedRequest } from './backends.ts'
import type { Json } from './tokens.ts'

/** Customers by their number; deleting one takes it away, a PATCH is a merge patch of one level. */
export function createCrm(customers: Readonly<Record<string, Json>>) {
  const known = new Map(Object.entries(customers))
  return {
    known,
    answer({ method, url, body }: RecordedRequest, res: ServerResponse) {
      const id = /^\/customers\/(\w+)$/.exec(url)?.[1]
      const customer = known.get(id ?? '')
      if (id === undefined) return send(res, 200, [...known.values()])
      if (customer === undefined) return send(res, 404, { error: 'no such customer' })
      if (method === 'DELETE') known.delete(id)
      if (method === 'PATCH') known.set(id, { ...customer, ...(JSON.parse(body.toString()) as Json) })
      send(res, 200, known.get(id) ?? { deleted: id })
    },
  }
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
