// `leasegate approvals` as people run it, against gates in each arrangement: what waits is seen, shown exactly, and decided;
// a released draft is executed by whichever process has a gate.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { eventually, grantsFor } from '../support/gate.ts'
import { type Json, type TestIssuer, testIssuer } from '../support/tokens.ts'
import { Workplace } from './process.ts'

const carol = 'carol@example.com'
/** Reads one way and is another: overrides the direction of what follows. */
const hostile = 'Ada\u202e'

let backend: RecordingBackend
beforeAll(async () => {
  backend = await startRecordingBackend()
})
afterAll(() => backend.close())

/** `decides`: where people are served, `serves`: where agents are. */
interface Arrangement {
  readonly decides: Workplace
  readonly serves: Workplace
  readonly issuer: TestIssuer
}

async function arrange(how: 'workers' | 'apart'): Promise<Arrangement> {
  const serves = await Workplace.open()
  const decides = how === 'apart' ? await Workplace.open() : serves
  const issuer = testIssuer({ audience: serves.origin })
  serves.write('jwks.json', JSON.stringify(issuer.jwks))
  for (const place of new Set([serves, decides])) {
    await place.compilePolicy()
    place.configure(
      backend.url,
      {
        ...(place === serves && {
          issuers: [{ issuer: issuer.issuer, jwks: { file: './jwks.json' } }],
          ...(how === 'workers' && { workers: 2 }),
        }),
        state: { path: serves.path('data/state.db') },
        approvals: { key_file: serves.path('data/approvals.key') },
        control: {
          operators: [
            { name: carol, token_file: './data/carol', roles: ['approver'], groups: ['crm-owners'] },
          ],
        },
      },
      { require_binding: 'never' },
    )
  }
  await serves.serve(how === 'apart' ? { only: 'gate' } : {})
  if (decides !== serves) await decides.serve({ only: 'broker' })
  await eventually(async () => (await serves.get('/readyz')).status === 200, 'a gate that is ready', 30)
  return { decides, serves, issuer }
}

describe.each(['workers', 'apart'] as const)('a gate of two processes (%s)', (how) => {
  let places: Arrangement
  beforeAll(async () => {
    places = await arrange(how)
  }, 120_000)
  afterAll(async () => {
    for (const each of new Set([places.decides, places.serves])) await each[Symbol.asyncDispose]()
  })

  const run = (...args: string[]) =>
    places.decides.run(['approvals', ...args, '--as', carol, '-c', places.decides.config])
  let leases = 0
  const propose = async (body: Json) => {
    const { serves, issuer } = places
    const { lease } = issuer.claims() as { lease: Json }
    const id = `lse_cli_${++leases}`
    const token = issuer.token({
      ...{ jti: `ltk_${id}`, authorization_details: grantsFor('crm') },
      lease: { ...lease, id, session: id, stage: 'draft' },
    })
    const answer = await fetch(`${serves.origin}/crm/customers/9821?note=a%20b`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    expect(answer.status).toBe(202)
    return String(((await answer.json()) as Json).id)
  }

  test('a draft is listed, shown with nothing hidden, approved as shown, and executed', async () => {
    const seen = backend.requests.length
    const id = await propose({ name: hostile })
    const listed = await run('list')
    expect([listed.code, listed.stderr]).toEqual([0, ''])
    expect(listed.stdout).toMatch(new RegExp(`${id} +draft +update crm:customer/9821 +risk low .* left`))
    const shown = await run('show', id)
    expect(shown.stdout).toContain('PATCH /crm/customers/9821?note=a%20b')
    expect(shown.stdout).toContain('{"name":"Ada[U+202E]"}')
    expect(shown.stdout).not.toContain('\u202e')
    const { fingerprint } = JSON.parse((await run('show', id, '--json')).stdout) as Json
    expect(shown.stdout).toContain(`leasegate approvals approve ${id} --fingerprint ${fingerprint}`)
    const other = await run('approve', id, '--fingerprint', 'sha-256:of-something-else')
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('action_state_conflict')])
    expect(backend.requests).toHaveLength(seen)
    const approved = await run('approve', id, '--fingerprint', String(fingerprint), '--reason', 'checked')
    expect([approved.code, approved.stdout]).toEqual([0, `${id} is approved\n`])
    await eventually(() => backend.requests.length > seen, 'the execution', 30)
    expect(backend.requests.slice(seen).map(({ body }) => String(body))).toEqual([`{"name":"${hostile}"}`])
  })

  test('a draft is refused, and what is wrong is said in words', async () => {
    const id = await propose({ name: 'Bob' })
    const refused = await run('refuse', id, '--reason', 'not this one')
    expect([refused.code, refused.stdout]).toEqual([0, `${id} is refused\n`])
    expect((await run('list')).stdout).not.toContain(id)
    const again = JSON.parse((await run('list', '--all', '--json')).stdout) as { actions: Json[] }
    expect(again.actions[0]).toMatchObject({ id, ended: { by: carol, reason: 'not this one' } })
    const wrong = await run('approve', id, '--fingerprint', 'x', '--repeat', 'often')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('5/10m')])
    const config = ['-c', places.decides.config]
    const stranger = await places.decides.run(['approvals', 'list', '--as', 'mallory', ...config])
    expect([stranger.code, stranger.stderr]).toEqual([2, expect.stringContaining('control.operators')])
  })
})
