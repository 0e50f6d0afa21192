// In: how connections come to several processes: `round_robin` or `shared_queue` of node:cluster, `reuse_port`, or
// `single`. Out: processes that answer any request with their process id, on one port, and nothing else.
import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { message, type Serving, serveParent } from './process.ts'

/** What it says once it serves. */
export interface Accepting extends Serving {
  readonly pids: readonly number[]
}

const [way = '', port = '0'] = process.argv.slice(2)
const isWorker = cluster.isWorker || way === 'reuse_port_worker'
if (isWorker || way === 'single') await serve()
else await supervise()

async function serve(): Promise<void> {
  const body = String(process.pid)
  const head = { 'content-length': body.length }
  const server = createServer((_req, res) => res.writeHead(200, head).end(body))
  server.listen({ port: Number(port), host: '127.0.0.1', reusePort: way === 'reuse_port_worker' })
  await once(server, 'listening')
  const at = (server.address() as AddressInfo).port
  if (way === 'single') await serveParent({ port: at, pids: [process.pid] } as Accepting)
  process.once('disconnect', () => process.exit())
  if (process.connected) process.send?.({ port: at })
}

async function supervise(): Promise<void> {
  const pids: number[] = []
  let at = 0
  cluster.schedulingPolicy = way === 'round_robin' ? cluster.SCHED_RR : cluster.SCHED_NONE
  for (let worker = 0; worker < 2; worker++) {
    const child =
      way === 'reuse_port'
        ? fork(import.meta.filename, ['reuse_port_worker', String(at)])
        : cluster.fork().process
    at = ((await message(child)) as Serving).port
    pids.push(child.pid!)
  }
  await serveParent({ port: at, pids } as Accepting)
}
