// Live leases, read in steps from a real store: none twice, none left out, and others run in between.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { liveLeases } from '../../src/broker/live_leases.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { leaseRecord } from '../support/leases.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-live-'))
const store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 60_000 })
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

const now = Math.floor(Date.now() / 1000)
/** Three at each moment, so that steps end between two of one moment. */
const ids = Array.from({ length: 250 }, (_, at) => `lse_${String(at).padStart(3, '0')}`)
await Promise.all(
  ids.map((id, at) =>
    store.leases.put(
      leaseRecord({
        id,
        agent: at % 2 === 0 ? 'agent:even' : 'agent:odd',
        issuedAt: now - 300 + Math.floor(at / 3),
        maxExpiresAt: at === 7 ? now - 1 : now + 600,
      }),
    ),
  ),
)

test('every live lease is found once, the newest first; one that has ended is not', async () => {
  const { live, truncated } = await liveLeases(store, now)
  expect(live.map(({ id }) => id)).toEqual(ids.filter((id) => id !== 'lse_007').toReversed())
  expect(truncated).toBe(false)
})

test('leases of one agent are all found among those of others', async () => {
  const { live } = await liveLeases(store, now, { agent: 'agent:odd' })
  expect(live.map(({ id }) => id)).toEqual(
    ids.filter((id, at) => at % 2 === 1 && id !== 'lse_007').toReversed(),
  )
})

test('others run while leases are read', async () => {
  let turns = 0
  let isOver = false
  const turn = () => {
    turns++
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  await liveLeases(store, now)
  isOver = true
  expect(turns).toBeGreaterThanOrEqual(2)
})
