// In: the port of a backend, and how many leases there are. Out: a gate as `leasegate serve` starts it, on the embedded
// store with so many active leases, each with a few calls.
import { readFileSync } from 'node:fs'
import { openStore, startGate } from '../src/compose.ts'
import { createLogger } from '../src/telemetry/log.ts'
import { leaseRecord } from '../test/support/leases.ts'
import { Fixture } from './fixture.ts'
import { serveParent } from './process.ts'

const [backendPort = '', leases = ''] = process.argv.slice(2)
using fixture = new Fixture(Number(backendPort))
const store = await openStore(fixture.config)
const now = Math.floor(Date.now() / 1000)
await Promise.all(
  Array.from({ length: Number(leases) }, (_, number) =>
    store.leases.put(
      leaseRecord({
        id: `lse_${String(number).padStart(6, '0')}`,
        user: `user${number % 500}@example.com`,
        issuedAt: now - Math.floor(number / 10),
        maxExpiresAt: now + 3_600,
      }),
    ),
  ),
)
await store.close()
const gate = await startGate(fixture.config, createLogger({ level: 'error' }))
const { tokenFile } = fixture.config.control
await serveParent({
  port: gate.proxy.port,
  token: await fixture.token(),
  control: { port: gate.control.port, token: readFileSync(tokenFile, 'utf8').trim() },
})
