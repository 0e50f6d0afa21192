// What crosses between supervisor and workers: what a worker says is checked, a configuration arrives whole with
// its secrets still hidden, and each worker gets its part of what a backend is promised.
import { inspect } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { packConfig, unpackConfig } from '../../src/config/transfer.ts'
import { packageRoot } from '../../src/version.ts'
import { readFromWorker } from '../../src/workers/messages.ts'
import { shareOf } from '../../src/workers/share.ts'

const secret = 'crm-secret-51d0'
const config = loadConfig(`${packageRoot}/config.example.yaml`, { CRM_TOKEN: secret })

describe('a configuration in another process', () => {
  test('is the same, frozen, and hides what it hid', () => {
    // What node:cluster does to a message with `serialization: 'advanced'`.
    const there = unpackConfig(deserialize(serialize(packConfig(config))))
    expect(there).toEqual(config)
    expect(there.backends[0]!.credential!.value).toContain(secret)
    expect(Object.isFrozen(there.backends[0]!.operations[0])).toBe(true)
    for (const text of [JSON.stringify(there), inspect(there, { depth: 9 })]) {
      expect(text).not.toContain(secret)
      expect(text).toContain('[redacted]')
    }
    expect({ ...there.backends[0]!.credential }).not.toHaveProperty('value')
  })
})

describe('connections and calls under way to a backend', () => {
  test('are divided so that all workers together have what is configured, and each at least one', () => {
    const whole = fc.integer({ min: 1, max: 1000 })
    fc.assert(
      fc.property(whole, whole, fc.integer({ min: 1, max: 64 }), (connections, maxInFlight, workers) => {
        const [backend] = config.backends
        const all = { ...config, workers, backends: [{ ...backend!, connections, maxInFlight }] }
        const shares = Array.from({ length: workers }, (_, index) => shareOf(all, index + 1).backends[0]!)
        for (const [name, total] of [
          ['connections', connections] as const,
          ['maxInFlight', maxInFlight] as const,
        ]) {
          const parts = shares.map((share) => share[name])
          expect(parts.reduce((sum, part) => sum + part, 0)).toBe(Math.max(total, workers))
          expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1)
          expect(Math.min(...parts)).toBeGreaterThanOrEqual(1)
        }
      }),
    )
  })

  test('keep everything else, the credential too', () => {
    const share = shareOf({ ...config, workers: 2 }, 1)
    expect(share.backends[0]!.credential!.value).toContain(secret)
    expect(share.backends[0]!.operations).toBe(config.backends[0]!.operations)
  })
})

describe('what a worker says', () => {
  const values = [{ labels: { backend: 'crm' }, value: 1 }]
  const metric = { name: 'calls', help: 'Calls.', type: 'counter', aggregator: 'sum', values }
  const state = { type: 'state', number: 1, digest: 'sha256:0', readiness: [], metrics: [] }

  test.each([
    { type: 'listening', host: '127.0.0.1', port: 8080 },
    { type: 'failed', message: 'no' },
    { type: 'calls', calls: [['lease\na', 179_530_000, 3]] },
    state,
    { ...state, metrics: [metric] },
    { ...state, digest: undefined, readiness: [{ name: 'audit', ready: true, detail: '' }] },
  ])('%o is understood', (message) => {
    expect(readFromWorker(message)).toBe(message)
  })

  test.each([
    undefined,
    null,
    'state',
    { type: 'toString' },
    { type: 'close' },
    { type: 'listening', host: '127.0.0.1', port: '8080' },
    { type: 'failed' },
    { type: 'calls', calls: [['key', 1]] },
    { type: 'calls', calls: [['key', 1, -1]] },
    { type: 'calls', calls: [['key', 1, 0.5]] },
    { ...state, number: '1' },
    { ...state, digest: 1 },
    { ...state, readiness: [{ name: 'audit', ready: 'true', detail: '' }] },
    { ...state, readiness: [{ name: 'audit', ready: true }] },
    { ...state, metrics: {} },
    { ...state, metrics: [null] },
    { ...state, metrics: [{ ...metric, aggregator: 'toString' }] },
    { ...state, metrics: [{ ...metric, values: [null] }] },
    { ...state, metrics: [{ ...metric, values: [{ labels: null, value: 1 }] }] },
    { ...state, metrics: [{ ...metric, values: [{ labels: {}, value: '1' }] }] },
  ])('%o is not', (message) => {
    expect(readFromWorker(message)).toBeUndefined()
  })
})
