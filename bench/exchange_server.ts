// In: `broker` or `gate`, and the directory with the configuration that both share. Out: that one alone, as
// `leasegate serve --only` starts it, on a port of its own.
import { join } from 'node:path'
import { startBroker, startGate } from '../src/compose.ts'
import { loadConfig } from '../src/config/load.ts'
import { createLogger } from '../src/telemetry/log.ts'
import { serveParent } from './process.ts'

const [role = '', dir = ''] = process.argv.slice(2)
const config = loadConfig(join(dir, 'config.yaml'), {})
// One process writes to an audit file.
const own = { ...config, audit: { ...config.audit, file: join(dir, `audit-${role}.jsonl`) } }
const log = createLogger({ level: 'error' })
const port =
  role === 'broker'
    ? (await startBroker(own, log)).control.port
    : (await startGate(own, log, { broker: false })).proxy.port
await serveParent({ port })
