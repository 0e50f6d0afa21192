// In: the port of a backend, how many leases, and the state section of the configuration. Out: a gate as
// `leasegate serve` starts it, with leases that may change customers in stage `execute` or `draft`, and somebody who
// may approve.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startGate } from '../src/compose.ts'
import { createLogger } from '../src/telemetry/log.ts'
import { Fixture } from './fixture.ts'
import { serveParent } from './process.ts'

const [backendPort = '', leases = '', state] = process.argv.slice(2)
using fixture = new Fixture(Number(backendPort), { state })
const gate = await startGate(fixture.config, createLogger({ level: 'error' }))
const writers = (stage: 'execute' | 'draft') =>
  Promise.all(Array.from({ length: Number(leases) }, () => fixture.writer(stage)))
await serveParent({
  port: gate.proxy.port,
  token: await fixture.token(),
  writers: { execute: await writers('execute'), draft: await writers('draft') },
  control: { port: gate.control.port, token: readFileSync(join(fixture.dir, 'owner.token'), 'utf8').trim() },
})
