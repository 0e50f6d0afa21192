// In: the address of a server. Out: another address of it, over which bytes travel as well or as badly as told.
// It looks at no byte, changes none and loses none: what it holds back travels on once it may.
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/**
 * How the way to the server is. `drop`: nothing moves, connections stay open, new ones too (packets are lost).
 * `mute`: what is sent arrives, the answers do not. `refuse`: connections are reset, new ones are refused.
 * A number: so many milliseconds longer, each way.
 */
export type Way = 'open' | 'drop' | 'mute' | 'refuse' | number

export interface FaultProxy {
  readonly host: string
  readonly port: number
  /** Changes the way, for connections that are open as well. */
  turn(way: Way): Promise<void>
  /** Resets every connection once; new ones are welcome. */
  cut(): void
  close(): Promise<void>
}

/** One direction of one connection. */
interface Flow {
  readonly from: Socket
  readonly to: Socket
  readonly towardsServer: boolean
}

/** Listens on a free port of `host` and leads to `target`. */
export async function startFaultProxy(
  target: { readonly host: string; readonly port: number },
  host = '127.0.0.1',
): Promise<FaultProxy> {
  let way: Way = 'open'
  const flows = new Set<Flow>()
  const steer = ({ from, towardsServer }: Flow) => {
    if (way === 'drop' || (way === 'mute' && !towardsServer)) from.pause()
    else from.resume()
  }
  const join = (flow: Flow) => {
    const { from, to } = flow
    flows.add(flow)
    // One delay for all that comes keeps its order.
    const later = (work: () => void) => (typeof way === 'number' ? void setTimeout(work, way) : work())
    from.on('data', (chunk) => later(() => void (to.writable && to.write(chunk))))
    from.on('end', () => later(() => to.end()))
    from.on('error', () => {})
    from.on('close', () => {
      flows.delete(flow)
      to.destroy()
    })
    steer(flow)
  }
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    const upstream = net.connect({ ...target, allowHalfOpen: true })
    for (const socket of [client, upstream]) socket.setNoDelay(true)
    join({ from: client, to: upstream, towardsServer: true })
    join({ from: upstream, to: client, towardsServer: false })
  })
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cut = () => {
    for (const { from } of flows) from.resetAndDestroy()
  }
  return {
    host,
    port,
    cut,
    async turn(next) {
      way = next
      if (next === 'refuse') {
        cut()
        if (server.listening) server.close()
        return
      }
      if (!server.listening) await once(server.listen(port, host), 'listening')
      for (const flow of flows) steer(flow)
    },
    async close() {
      cut()
      if (server.listening) await once(server.close(), 'close')
    },
  }
}
