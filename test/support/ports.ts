// Ports for servers that have to be told theirs. In: nothing. Out: ports that nobody listens on. Not from the range
// that the system gives out itself: between the choice and the use, another test's connection would take one.
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below 32768, where Linux begins to give out ports (net.ipv4.ip_local_port_range). */
const [first, last] = [10_000, 32_000]

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * (last - first))
    const server = createServer()
    server.listen(port, '127.0.0.1')
    const taken = await once(server, 'listening').then(
      () => false,
      () => true,
    )
    if (taken) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Several, each another. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}
