// Places in status lists: no two leases share one, over all processes on a store, and a full list is no list.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createStatusContents, createStatusPlaces, listSize } from '../../src/broker/status_list.ts'
import type { LeaseRecord, Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'

const issuer = 'https://broker.example/'
const hour = Math.ceil(Date.now() / 3_600_000) + 1
const now = Date.now() / 1000
let dir: string
let stores: Store[]

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-status-'))
  const open = () => openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
  stores = [await open(), await open()]
})
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()))
  rmSync(dir, { recursive: true })
})

test('no two leases get one place, whichever process asks', async () => {
  const processes = stores.map(({ replay }) => createStatusPlaces({ replay, issuer }))
  const asked = Array.from({ length: 2_000 }, (_, at) => processes[at % 2]!.statusFor(now, hour * 3600))
  const given = await Promise.all(asked)
  expect(new Set(given.map(({ idx }) => idx)).size).toBe(2_000)
  expect(new Set(given.map(({ uri }) => uri))).toEqual(
    new Set([`https://broker.example/statuslists/${hour}`]),
  )
  expect(given.every(({ idx }) => Number.isInteger(idx) && idx >= 0 && idx < listSize)).toBe(true)
})

test('a process that starts anew takes no place that was taken before', async () => {
  const taken = new Set<number>()
  for (let start = 0; start < 20; start++) {
    const { statusFor } = createStatusPlaces({ replay: stores[0]!.replay, issuer })
    for (let n = 0; n < 5; n++) taken.add((await statusFor(now, hour * 3600)).idx)
  }
  expect(taken.size).toBe(100)
})

test('a list without a place left gives none, and those of other hours still do', async () => {
  const used = Array.from({ length: 512 }, (_, rest) =>
    stores[0]!.replay.use(`status_list:${hour}:${rest}`, hour * 3600, now),
  )
  expect(await Promise.all(used)).not.toContain(false)
  const { statusFor } = createStatusPlaces({ replay: stores[1]!.replay, issuer })
  await expect(statusFor(now, hour * 3600)).rejects.toMatchObject({ name: 'Unavailable' })
  await expect(statusFor(now, hour * 3600)).rejects.toMatchObject({ name: 'Unavailable' })
  expect((await statusFor(now, hour * 3600 + 1)).uri).toMatch(`/${hour + 1}`)
})

test('a lease is on the list of the hour that it ends in', async () => {
  const { statusFor } = createStatusPlaces({ replay: stores[0]!.replay, issuer })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 30 * 86_400 }), async (seconds) => {
      const end = Math.floor(now) + seconds
      const list = Number((await statusFor(now, end)).uri.split('/').at(-1))
      expect(list * 3600).toBeGreaterThanOrEqual(end)
      expect(list * 3600 - end).toBeLessThan(3600)
    }),
    { numRuns: 30 },
  )
})

describe('no list is made', () => {
  test('of more leases than one look may read', async () => {
    const { leases, revocations } = stores[0]!
    const options = { store: { leases, revocations }, maxStalenessMs: 60_000, ttlSeconds: 15 }
    for (const id of ['lse_1', 'lse_2']) await leases.put(record(id))
    const roomy = createStatusContents({ ...options, maxLiveLeases: 2 })
    const tight = createStatusContents({ ...options, maxLiveLeases: 1 })
    expect(await roomy.contentOf(hour, now)).toMatchObject({ bits: 2 })
    await expect(tight.contentOf(hour, now)).rejects.toMatchObject({ name: 'Unavailable' })
    roomy.close()
    tight.close()
  })
})

function record(id: string): LeaseRecord {
  return {
    ...{
      id,
      issuer,
      tenant: '',
      user: 'u',
      agent: 'agent:a',
      agentVersion: '1',
      agentEnv: 'prod',
      clientId: 'a',
    },
    ...{ profile: 'p', profileVersion: '', task: { system: 's', id: 't', purpose: 'p' }, session: 'ses_1' },
    ...{ stage: 'observe', audience: 'g', details: [], ancestors: [], delegatedBy: [], issuedAt: now - 1 },
    ...{ expiresAt: now + 300, maxExpiresAt: hour * 3600, renewals: 0, version: 0 },
    state: 'active',
  }
}
