// A candidate policy: usable or not, nobody waits for it and nobody fails with it.
import { expect, it, vi } from 'vitest'
import { type CandidatePolicy, openCandidate } from '../../src/policy/candidate.ts'
import { policyDigest } from '../../src/policy/evaluate.ts'
import type { PolicyEvent } from '../../src/policy/live.ts'
import { directorySource } from '../../src/policy/source.ts'
import { eventually } from '../support/gate.ts'
import { compiled, PolicyDir } from './support.ts'

vi.setConfig({ testTimeout: 120_000 })

const sound = 'package leasegate.authz\n\ndecision := {"effect": "deny", "reasons": ["candidate"]}\n'

interface Watched extends AsyncDisposable {
  readonly candidate: CandidatePolicy
  readonly events: PolicyEvent[]
}

function watched(dir: string, reload: 'on_change' | 'never' = 'on_change'): Watched {
  const events: PolicyEvent[] = []
  const candidate = openCandidate({
    source: directorySource(dir, { reload }),
    onEvent: (event) => events.push(event),
  })
  return { candidate, events, [Symbol.asyncDispose]: () => candidate.close() }
}

/** Waits for the `count`-th event; a compilation takes its time on a busy machine. */
function told(count: number, { events }: Watched): Promise<void> {
  return eventually(() => events.length === count, `event ${count}`, 60)
}

it('that is broken when it is opened runs once it is mended, and again after the next mistake', async () => {
  using dir = PolicyDir.of({ 'authz.rego': 'package leasegate.authz\n\ndecision := {\n' })
  await using run = watched(dir.path)
  const { candidate, events } = run
  expect(candidate.module).toBeUndefined()
  await told(1, run)
  expect(events[0]?.type).toBe('rejected')
  expect(candidate.status().lastError).toContain('authz.rego:4')

  dir.write('authz.rego', sound)
  await told(2, run)
  const digest = policyDigest(candidate.module!)
  expect(events[1]).toEqual({ type: 'reloaded', digest })
  expect(candidate.status()).toMatchObject({ digest })

  dir.write('authz.rego', `${sound}\ntest_never if 1 == 2\n`)
  await told(3, run)
  expect(events[2]).toMatchObject({ type: 'rejected' })
  dir.write('authz.rego', sound)
  await told(4, run)
  expect(events[3]).toEqual({ type: 'reloaded', digest })
})

it('that is not there yet is waited for', async () => {
  using dir = PolicyDir.of({})
  await using run = watched(`${dir.path}/next`)
  await told(1, run)
  expect(run.events[0]).toMatchObject({ diagnostics: [{ code: 'policy_unreadable' }] })
  dir.write('next/authz.rego', sound)
  await told(2, run)
  expect(run.candidate.module).toBeDefined()
})

it('is read again when it is told to, however it stands and without watching', async () => {
  using dir = PolicyDir.of({ 'authz.rego': 'no rego' })
  await using run = watched(dir.path, 'never')
  await told(1, run)
  dir.write('authz.rego', sound)
  await run.candidate.reloadNow()
  await told(2, run)
  expect(run.events[1]?.type).toBe('reloaded')
  dir.write('authz.rego', sound.replace('"candidate"', '"other"'))
  await run.candidate.reloadNow()
  expect(run.events.map(({ type }) => type)).toEqual(['rejected', 'reloaded', 'reloaded'])
})

const numbers = JSON.stringify(Array.from({ length: 150 }, (_, at) => at))
const slow = `default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if {
	some _ in data.numbers
	some _ in data.numbers
	some _ in data.numbers
	some number in data.numbers
	number == input.lease.session
}
`

it.each<[as: string, files: () => Promise<Record<string, string | Uint8Array>>]>([
  ['Rego', async () => ({ 'authz.rego': `package leasegate.authz\n\n${slow}` })],
  ['a module', async () => ({ 'policy.wasm': await compiled(slow) })],
])(
  'that takes far too long for one decision, as %s, is refused without asking it in the gate',
  async (_, files) => {
    using dir = PolicyDir.of({ 'data/numbers.json': numbers, ...(await files()) })
    await using run = watched(dir.path)
    await told(1, run)
    expect(run.events[0]).toMatchObject({ type: 'rejected', diagnostics: [{ code: 'decision_too_slow' }] })
    expect(run.candidate.module).toBeUndefined()
  },
)

it('can be closed while it is still being compiled', async () => {
  using dir = PolicyDir.of({ 'authz.rego': sound })
  const { candidate, events } = watched(dir.path)
  await candidate.close()
  expect(events).toEqual([])
  expect(candidate.module).toBeUndefined()
})
