// How much agents could do, from the command line, over a store that a test has filled.
import { mkdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { leaseRecord } from '../support/leases.ts'
import { Workplace } from './process.ts'

let place: Workplace

beforeAll(async () => {
  place = await Workplace.open()
  place.configure('http://127.0.0.1:9')
  mkdirSync(place.path('policies'), { recursive: true })
  const store = await openEmbedded({ path: place.path('data/leasegate.db'), maxStalenessMs: 2_000 })
  const narrow = [
    { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
  ]
  const wide = [
    { type: 'lease', actions: ['read', 'update'], identifier: 'crm:customer/*', sensitivity: 'confidential' },
  ]
  await store.leases.put(leaseRecord({ id: 'lse_narrow', agent: 'agent:narrow', details: narrow }))
  await store.leases.put(
    leaseRecord({ id: 'lse_wide', agent: 'agent:wide', stage: 'execute', details: wide }),
  )
  await store.leases.put(leaseRecord({ id: 'lse_over', agent: 'agent:over', details: wide, maxExpiresAt: 1 }))
  const usage = {
    calls: 3,
    verbs: { read: 3 },
    refusals: 0,
    bytesIn: 0,
    bytesOut: 9,
    lastUsedAt: Date.now() / 1000,
  }
  await store.leases.addUsage([{ id: 'lse_wide', issuer: leaseRecord().issuer, ...usage }])
  await store.leases.addUsage([{ id: 'lse_narrow', issuer: leaseRecord().issuer, ...usage }])
  await store.close()
})
afterAll(() => place[Symbol.asyncDispose]())

const blastRadius = (...args: string[]) => place.run(['blast-radius', ...args, '--config', place.config])

test('agents are ranked by what they could do, with what would narrow each', async () => {
  const { code, stdout } = await blastRadius()
  expect(code).toBe(0)
  // 600 at once and 600 a minute for 15 minutes, each of something confidential: 10 points.
  expect(stdout).toBe(`radius  agent         leases  calls  within
96.0 k  agent:wide         1  9,600  15m
        2 operations up to confidential, 1 of them writes
        -99.8 %  max_calls 20
          -63 %  leases of 5 minutes
    10  agent:narrow       1      1  15m
        1 operation up to confidential

radius: points of harm at most, until leases end or somebody ends them (15m);
reading something confidential is 10 points, changing it at medium risk 30
how it is counted: docs/blast-radius.md
`)
})

test('each line fits a terminal of 80 columns', async () => {
  const { stdout } = await blastRadius()
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
})

test('--json has what a figure is made of', async () => {
  const { stdout } = await blastRadius('--agent', 'narrow', '--json')
  const reach = { backend: 'crm', operation: 'GET /customers/{id}', identifier: 'crm:customer/9821' }
  expect(JSON.parse(stdout)).toEqual({
    truncated: false,
    agents: [
      {
        ...{ agent: 'agent:narrow', leases: 1, points: 10, calls: 1, window_seconds: 900, narrowings: [] },
        reach: [{ ...reach, sensitivity: 'confidential', risk: 'low', points: 10 }],
      },
    ],
  })
})

test('lease show tells what could still happen, of a live lease only', async () => {
  const show = async (id: string) => (await place.run(['lease', 'show', id, '--config', place.config])).stdout
  expect(await show('lse_narrow')).toMatch(
    /^ {2}could +10 points of harm at most, by 1 call within 15m\n +1 operation up to confidential$/m,
  )
  expect(await show('lse_over')).not.toContain('could')
})

test.each([
  [['--limit', 'many'], 2, '--limit is a number of agents'],
  [['--agent', 'nobody'], 0, ''],
])('%j ends with %i', async (args, code, message) => {
  const result = await blastRadius(...args)
  expect(result.code).toBe(code)
  expect(result.stderr).toContain(message)
})
