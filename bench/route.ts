// In: a backend with a thousand operations. Out: how long it takes to find the one that a request means.
import type { Backend, Operation, PatternSegment } from '../src/enforce/operation.ts'
import { receive } from '../src/enforce/receive.ts'
import { createRouter, route } from '../src/enforce/route.ts'
import { isRefusal } from '../src/refusals.ts'
import { Fixture } from './fixture.ts'
import { type Percentiles, percentiles, printTable, timeEach, writeResult } from './numbers.ts'

const operations = 1_000

/** Of a route with two parameters among a thousand, microseconds. */
export function measureRoute(count: number): Percentiles {
  using fixture = new Fixture(1)
  const [crm] = fixture.config.backends
  const backend = { ...crm!, operations: Array.from({ length: operations }, (_, n) => operation(n, crm!)) }
  const router = createRouter([backend])
  const requests = Array.from({ length: operations }, (_, n) => request(n))
  const took = percentiles(
    timeEach(count, (n) => {
      const { mapped } = route(requests[n % operations]!, router)
      if (isRefusal(mapped)) throw new Error('a request of the benchmark matches nothing')
    }),
  )
  printTable(['route', 'p50 µs', 'p99 µs'], [[`one of ${operations} operations`, took.p50, took.p99]])
  return took
}

/** `GET /kind-7/{kind}/items-3/{item}`: a hundred kinds with ten collections each. */
function operation(n: number, { operations: [template] }: Backend): Operation {
  const [kind, items] = [`kind-${n % 100}`, `items-${Math.floor(n / 100)}`]
  const segments: PatternSegment[] = [
    { literal: kind },
    { param: 'kind' },
    { literal: items },
    { param: 'item' },
  ]
  const match = `GET /${kind}/{kind}/${items}/{item}`
  return { ...template!, match, method: 'GET', segments, resource: `${kind}/{kind}/${items}/{item}` }
}

function request(n: number) {
  const target = `/crm/kind-${n % 100}/k${n}/items-${Math.floor(n / 100)}/${9_000 + n}`
  const rawHeaders = ['Host', 'gate.bench']
  const rules = {
    authorities: new Set(['gate.bench']),
    headerBytes: 16_384,
    headerFields: 100,
    targetBytes: 8_192,
    encodedSlash: false,
    via: 'bench',
  }
  const head = { method: 'GET', target, httpVersion: '1.1', rawHeaders, peer: '127.0.0.1' }
  const clean = receive(head, rules)
  if (isRefusal(clean)) throw new Error('a request of the benchmark is malformed')
  return clean
}

if (import.meta.main) writeResult('route', { route_us: measureRoute(200_000) })
