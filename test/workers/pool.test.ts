// Workers that cannot even be started: the machine has no more processes, memory or descriptors to give.
import cluster from 'node:cluster'
import { afterEach, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { packageRoot } from '../../src/version.ts'
import { WorkerPool } from '../../src/workers/pool.ts'

const config = { ...loadConfig(`${packageRoot}/config.example.yaml`, { CRM_TOKEN: 'x' }), workers: 2 }
const policy = () => ({ digest: 'sha256:0', module: { wasm: new Uint8Array(), data: {} } })

afterEach(() => cluster.setupPrimary({ cwd: process.cwd() }))

test('a worker that cannot be started ends the start with the reason, and the end waits for nobody', async () => {
  // As the kernel says it: by the first event of a process that has no number.
  cluster.setupPrimary({ cwd: 'nowhere' })
  const pool = new WorkerPool({ config, policy, onLost: () => {}, onHung: () => {}, onNoise: () => {} })
  await expect(pool.listen()).rejects.toThrow('could not be started: ENOENT')
  await pool.close(60_000)
  expect(pool.states).toMatchObject({ ready: 0 })
}, 30_000)
