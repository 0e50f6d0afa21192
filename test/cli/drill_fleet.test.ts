// Which processes a drill finds behind an address: all of them through a balancer, and a gate one of whose workers
// never answers is no gate that a drill can vouch for.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { openFleet } from '../../src/commands/drill/fleet.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** An address; each connection is somebody else's, in turn. */
async function balanced(workers: readonly object[], answer?: RequestListener) {
  let connections = 0
  const owners = new WeakMap<object, object>()
  const server = createServer((req, res) => {
    if (answer !== undefined) answer(req, res)
    else res.end(JSON.stringify(owners.get(req.socket)))
  })
  server.on('connection', (socket) => owners.set(socket, workers[connections++ % workers.length]!))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return { url: new URL(`http://127.0.0.1:${port}`), authority: 'gate.example' }
}

const worker = (gate: string, number: number, workers: number) => ({ gate, worker: number, workers })

async function found(...workers: object[]) {
  const fleet = await openFleet([await balanced(workers)], 'token')
  closers.push(() => fleet.close())
  return fleet
}

describe('behind one address', () => {
  test('every worker of every gate is found, with connections of its own', async () => {
    const fleet = await found(worker('a', 1, 2), worker('b', 2, 2), worker('c', 1, 2), worker('d', 2, 2))
    expect(fleet.workers).toBe(4)
    const names = fleet.connections.map(({ process }) => process?.gate).toSorted()
    expect(names).toEqual(['a', 'a', 'b', 'b', 'c', 'c', 'd', 'd'])
    // Whoever answered first answers on.
    const again = await Promise.all(fleet.connections.map((each) => each.call('token')))
    expect(again.map((call) => call.outcome === 'accepted' && call.process.gate).toSorted()).toEqual(names)
  })

  test.each([
    ['of its only gate', [worker('a', 1, 2)], 'worker 2 of 2 has not answered'],
    [
      'of one of two gates',
      [worker('a', 1, 2), worker('b', 2, 2), worker('c', 1, 2)],
      'worker 2 of 2 has not answered',
    ],
  ])('a worker that is missing %s is told', async (_, workers, said) => {
    await expect(found(...workers)).rejects.toThrow(said)
  })

  test.each([
    ['a page', '<html>'],
    ['another document', '{"gate":1}'],
    ['nothing', ''],
    ['worker 3 of 2', '{"gate":"a","worker":3,"workers":2}'],
    ['a billion workers', '{"gate":"a","worker":1,"workers":1000000000}'],
    ['a name that paints', '{"gate":"\\u001b[2J","worker":1,"workers":1}'],
  ])('what answers with %s is no canary', async (_, text) => {
    const address = await balanced([{}], (_req, res) => res.end(text))
    await expect(openFleet([address], 'token')).rejects.toThrow(`${address.url.origin} answers 200`)
  })
})
