// In: which of the servers, and the port of the backend. Out: that server, on a port of its own: `http_proxy`,
// `forwarder` or `enforced`, or the last with a policy in shadow. README.md says what each does and does not do.
// `--workers`, `--state`, `--policy` change the gate; `--leases` is how many further leases it issues.
import cluster from 'node:cluster'
import { readFileSync } from 'node:fs'
import { Agent, createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import httpProxy from 'http-proxy'
import { openStore, startGate } from '../src/compose.ts'
import { openKeys } from '../src/lease/keys.ts'
import { openLocalKey } from '../src/lease/local_key.ts'
import { createVerifier } from '../src/lease/verify.ts'
import { isRefusal } from '../src/refusals.ts'
import { createLogger } from '../src/telemetry/log.ts'
import { authority, Fixture } from './fixture.ts'
import { type Serving, serveParent } from './process.ts'
import { unenforcedListener } from './unenforced.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: 'string', default: '1' },
    state: { type: 'string' },
    policy: { type: 'string' },
    leases: { type: 'string', default: '0' },
  },
})
const [kind = '', backendPort = ''] = positionals
using fixture = new Fixture(Number(backendPort), { state: values.state, policy: values.policy })

const servers: Readonly<Record<string, () => Promise<Serving>>> = {
  http_proxy: bareHttpProxy,
  forwarder,
  enforced: () => enforced(),
  shadowed: () => enforced(fixture.config.policy.dir),
  overloaded: () => enforced(fixture.slowPolicy()),
}
const start = servers[kind]
if (start === undefined) throw new Error(`name one of ${Object.keys(servers).join(', ')}`)
await serveParent(await start())

/** http-proxy as its README sets it up, with the keep-alive agent that it leaves to its users to add. */
async function bareHttpProxy(): Promise<Serving> {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${backendPort}`, agent })
  return listen(createServer((req, res) => proxy.web(req, res)))
}

/** The gate's pipeline and forwarder with enforcement off. */
async function forwarder(): Promise<Serving> {
  const { config } = fixture
  const local = await openLocalKey(config.broker.keyFile)
  const keys = await openKeys(config.issuers, { local: () => [local.publicJwk] })
  const verifier = createVerifier({ issuers: config.issuers, keys })
  const lease = await verifier.verify(await fixture.token(), Date.now() / 1000, [`http://${authority}`])
  if (isRefusal(lease)) throw new Error(`the lease of the benchmark is refused: ${lease.code}`)
  return listen(unenforcedListener(config, lease).server)
}

/** The gate that `leasegate serve` starts, with a thousand revocations; `candidate` lies in its shadow. */
async function enforced(candidate?: string): Promise<Serving> {
  const { config } = fixture
  const store = await openStore(config)
  const now = Math.floor(Date.now() / 1000)
  const entry = { scope: 'lease', reason: 'benchmark', by: 'bench', at: now } as const
  for (let n = 0; n < 1_000; n++) {
    await store.revocations.revoke({ ...entry, value: `lse_other_${n}`, cutoff: now, expiresAt: now + 3_600 })
  }
  await store.close()
  const shadow = candidate === undefined ? {} : { shadow: { dir: candidate } }
  const gate = await startGate(
    { ...config, workers: Number(values.workers), policy: { ...config.policy, ...shadow } },
    createLogger({ level: 'error' }),
  )
  const metrics = gate.metrics.port
  if (candidate !== undefined) await untilShadowRuns(metrics)
  const token = readFileSync(config.control.tokenFile, 'utf8').trim()
  const own = Object.values(cluster.workers ?? {}).flatMap((worker) => worker?.process.pid ?? [])
  return {
    port: gate.proxy.port,
    token: await fixture.token(),
    limited: {
      calls: await fixture.token({ max_calls: 1e9 }),
      calls_and_rate: await fixture.token({ max_calls: 1e9, max_rate: '1000000/1s' }),
    },
    tokens: await Promise.all(Array.from({ length: Number(values.leases) }, () => fixture.token())),
    dir: fixture.dir,
    metrics,
    pids: own.length === 0 ? [process.pid] : own,
    control: { port: gate.control.port, token },
  }
}

/** The candidate is compiled while the gate already serves. */
async function untilShadowRuns(metrics: number): Promise<void> {
  const running = 'leasegate_shadow_running{source="candidate"} 1'
  const text = async () => (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text()
  while (!(await text()).includes(running)) await sleep(100)
}

function listen(server: Server): Promise<Serving> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ port: (server.address() as AddressInfo).port }))
  })
}
