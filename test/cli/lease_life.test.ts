// What becomes of leases, from the command line: child processes beside a gate that runs. Listed, shown, held,
// let go, completed, renewed; and the API gives the same document and does the same thing.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'
import { Workplace } from './process.ts'

let backend: RecordingBackend
let place: Workplace

beforeAll(async () => {
  backend = await startRecordingBackend()
  place = await Workplace.open()
  await place.compilePolicy()
  place.configure(backend.url)
  await place.serve()
})
afterAll(async () => {
  await place[Symbol.asyncDispose]()
  await backend.close()
})

const lease = (...args: string[]) => place.run(['lease', ...args, '--config', place.config])
const shown = async (id: string) => JSON.parse((await lease('show', id, '--json')).stdout) as Json
const reason = ['--reason', 'odd reads']

async function status(token: string, customer = 9821): Promise<number> {
  const headers = { authorization: `Bearer ${token}` }
  return (await fetch(`${place.origin}/crm/customers/${customer}`, { headers })).status
}

/** What another process has written is seen within some milliseconds. */
const becomes = (token: string, wanted: number) =>
  eventually(async () => (await status(token)) === wanted, `an answer with ${wanted}`)

async function api(method: 'GET' | 'POST', path: string): Promise<Json> {
  const token = readFileSync(place.path('data/control.token'), 'utf8').trim()
  const response = await fetch(`http://127.0.0.1:${place.ports.control}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(method === 'POST' && { body: '{"reason":"by api"}' }),
  })
  expect(response.status).toBe(200)
  return (await response.json()) as Json
}

/** Writes to the state that the gate serves from. */
async function withStore<T>(
  use: (store: Awaited<ReturnType<typeof openEmbedded>>) => Promise<T>,
): Promise<T> {
  const store = await openEmbedded({ path: place.path('data/leasegate.db'), maxStalenessMs: 2_000 })
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}

describe('lease show', () => {
  test('answers the six questions for people, and tells its life in order', async () => {
    const now = Math.floor(Date.now() / 1000)
    const calls = {
      calls: 12,
      verbs: { read: 10, update: 2 },
      refusals: 1,
      bytesIn: 512,
      bytesOut: 3_000_000,
    }
    await withStore(async (store) => {
      await store.leases.put(
        leaseRecord({
          ...{ id: 'lse_whole', issuedAt: now - 60, renewals: 2, ancestors: ['lse_lead'] },
          delegatedBy: [{ id: 'agent:lead', version: '7', profile: 'lead' }],
          login: { issuer: 'https://login.example', subject: 'u-1' },
          binding: { method: 'dpop', thumbprint: 'k'.repeat(43) },
          decision: { id: 'dec_1', reasons: ['user_entitled', 'profile_allows'], policyDigest: 'sha256:00' },
        }),
      )
      await store.leases.put(leaseRecord({ id: 'lse_part', ancestors: ['lse_whole', 'lse_lead'] }))
      await store.leases.addUsage([
        { id: 'lse_whole', issuer: leaseRecord().issuer, ...calls, lastUsedAt: now - 5 },
      ])
    })
    await lease('suspend', 'lse_whole', ...reason)
    const { code, stdout } = await lease('show', 'lse_whole')
    expect(code).toBe(0)
    const lines = stdout.split('\n')
    expect(lines[0]).toBe('lse_whole  suspended: odd reads')
    const facts: readonly (readonly [string, string])[] = [
      ['who', 'alice@example.com  u-1 at https://login.example'],
      ['agent', 'agent:support-triage 3.2.1  prod, profile support 9'],
      ['through', 'agent:lead 7'],
      ['what', 'read crm:customer/9821 up to confidential'],
      ['stage', 'observe  for https://gate.example'],
      ['why', 'jira:SUP-4711  answer the billing question'],
      ['session', 'ses_1'],
      ['key', `dpop ${'k'.repeat(43)}`],
      ['granted', 'user_entitled, profile_allows  dec_1'],
      ['from', 'lse_lead'],
      ['handed on', 'lse_part'],
      ['happened', '12 calls: 10 read, 2 update; 1 refused; 512 B in, 2.9 MiB out'],
    ]
    for (const [label, value] of facts) expect(lines).toContain(`  ${label.padEnd(9)}  ${value}`)
    const life = lines.slice(lines.findIndex((line) => line.startsWith('  when')))
    expect(life.map((line) => line.slice(33).trim()).filter((line) => line !== '')).toEqual([
      'issued',
      'last used',
      expect.stringMatching(/^suspended by cli:\S+: odd reads$/),
      'token ends, renewed 2 times',
      'lease ends',
    ])
  })

  test('tells what is left of its limits, as the gate counts them', async () => {
    const grant =
      'read crm:customer/* confidential max_calls=20 max_amount=250.00 max_bytes=2000000 max_rate=60/1h'
    const { token, lease: issued } = await place.issue('--allow', grant)
    for (let calls = 0; calls < 2; calls++) expect(await status(token, 1042)).toBe(200)
    const { stdout } = await lease('show', issued.id)
    expect(stdout).toMatch(
      /^ {2}left +18 of 20 calls, 250\.00 of 250\.00, 1\.9 MiB of 1\.9 MiB, 58 calls at once \(60\/1h\)$/m,
    )
    expect(await shown(issued.id)).toMatchObject({
      budget: [
        { constraint: 'max_calls', max: 20, left: 18 },
        { constraint: 'max_amount', max: '250.00', left: '250.00' },
        { constraint: 'max_bytes', max: 2_000_000 },
        { constraint: 'max_rate', max: '60/1h', left: 58 },
      ],
    })
    await lease('complete', issued.id, ...reason)
    expect(await shown(issued.id)).toMatchObject({ state: 'completed', budget: [] })
  })

  test('--json is what GET /leases/{id} answers', async () => {
    const { lease: issued } = await place.issue()
    expect(await shown(issued.id)).toEqual(await api('GET', `/leases/${issued.id}`))
  })

  test('what somebody wrote cannot pass for a line of its own', async () => {
    const { lease: issued } = await place.issue('--user', 'mallory@example.com')
    const reason = 'x\n  who  root\u001b[2J'
    // Whoever can write to the store need not ask the command line, which would refuse this.
    await withStore(({ revocations }) => {
      const at = Math.floor(Date.now() / 1000)
      const times = { cutoff: at, expiresAt: at + 86_400, at }
      return revocations.revoke({ scope: 'user', value: 'mallory@example.com', reason, by: 'x', ...times })
    })
    const { stdout } = await lease('show', issued.id)
    expect(stdout).not.toContain('\u001b')
    expect(stdout.split('\n').filter((line) => line.trimStart().startsWith('who'))).toEqual([
      expect.stringContaining('mallory@example.com'),
    ])
  })

  test('a lease that is not known is a no', async () => {
    const answer = { code: 1, stdout: '', stderr: 'leasegate: no lease lse_none\n' }
    for (const command of ['show', 'renew']) expect(await lease(command, 'lse_none')).toEqual(answer)
    for (const command of ['suspend', 'resume', 'complete']) {
      expect(await lease(command, 'lse_none', ...reason)).toEqual(answer)
    }
  })
})

describe('lease list', () => {
  test('has two lines per lease, newest first, and the filters of the API', async () => {
    const { lease: issued } = await place.issue('--task', 'OPS-7')
    const { stdout } = await lease('list', '--task', 'OPS-7')
    expect(stdout).toMatch(
      /^lse_\w+ {2}active, .+ left {2}0 calls\n {2}alice@example\.com via agent:support-triage {2}task:OPS-7 {2}execute\n$/,
    )
    const newest = await lease('list', '--agent', 'support-triage', '--limit', '1', '--json')
    expect(JSON.parse(newest.stdout)).toMatchObject([{ id: issued.id, state: 'active' }])
    expect(await lease('list', '--user', 'nobody@example.com')).toEqual({
      code: 0,
      stdout: 'no leases\n',
      stderr: '',
    })
    const { leases } = await api('GET', '/leases?task=OPS-7')
    expect(JSON.parse((await lease('list', '--task', 'OPS-7', '--json')).stdout)).toEqual(leases)
  })

  test('--unused names active leases that nobody needs', async () => {
    const now = Math.floor(Date.now() / 1000)
    const idle = { user: 'idle@example.com', issuedAt: now - 1_200 }
    await withStore(async ({ leases }) => {
      await leases.put(leaseRecord({ id: 'lse_never', ...idle }))
      await leases.put(leaseRecord({ id: 'lse_long_ago', ...idle, issuedAt: now - 3_000 }))
      await leases.put(leaseRecord({ id: 'lse_busy', ...idle }))
      await leases.put(leaseRecord({ id: 'lse_done', ...idle, state: 'completed' }))
      const { issuer } = leaseRecord()
      const calls = { calls: 1, verbs: {}, refusals: 0, bytesIn: 0, bytesOut: 0 }
      await leases.addUsage([
        { id: 'lse_long_ago', issuer, ...calls, lastUsedAt: now - 2_400 },
        { id: 'lse_busy', issuer, ...calls, lastUsedAt: now - 1 },
      ])
    })
    const { stdout } = await lease('list', '--unused', '--user', 'idle@example.com')
    const lines = stdout.split('\n').filter((line) => line.startsWith('lse_'))
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['lse_never', 'lse_long_ago'])
    expect(lines[0]).toMatch(/0 calls {2}unused for 20m/)
    const long = await lease(
      'list',
      '--unused',
      '--older-than',
      '30m',
      '--user',
      'idle@example.com',
      '--json',
    )
    expect(JSON.parse(long.stdout)).toMatchObject([{ id: 'lse_long_ago', what_happened: { calls: 1 } }])
  })

  test.each([
    ['--limit', 'x'],
    ['--limit', '0'],
    ['--state', 'dead'],
    ['--older-than', '10m'],
  ])('%s %s is a mistake', async (...args) => {
    expect(await lease('list', ...args)).toMatchObject({ code: 2, stdout: '' })
  })
})

describe('lease suspend, resume and complete', () => {
  test('hold a lease, let it go, end it, at the gate that runs', async () => {
    const { token, lease: issued } = await place.issue()
    expect(await status(token)).toBe(200)
    expect((await lease('suspend', issued.id, ...reason)).stdout).toBe(`suspended ${issued.id}\n`)
    await becomes(token, 401)
    expect((await lease('suspend', issued.id, ...reason)).stdout).toContain('it was so already')
    expect(await shown(issued.id)).toMatchObject({ state: 'suspended', suspended: { reason: 'odd reads' } })
    expect((await lease('resume', issued.id, ...reason)).stdout).toBe(`active ${issued.id}\n`)
    await becomes(token, 200)
    const { stdout } = await lease('complete', issued.id, ...reason, '--json')
    expect(JSON.parse(stdout)).toMatchObject({ id: issued.id, state: 'completed', revoked: null })
    await becomes(token, 401)
  })

  test('are the same thing as the API: each goes on where the other stopped', async () => {
    const { token, lease: issued } = await place.issue()
    await lease('suspend', issued.id, ...reason)
    expect(await api('POST', `/leases/${issued.id}/resume`)).toMatchObject({ state: 'active' })
    await becomes(token, 200)
    expect(await api('POST', `/leases/${issued.id}/suspend`)).toMatchObject({ state: 'suspended' })
    expect((await lease('complete', issued.id, ...reason)).stdout).toBe(`completed ${issued.id}\n`)
    expect(await status(token)).toBe(401)
  })

  test('what the state does not allow is a no', async () => {
    const { lease: issued } = await place.issue()
    await place.run(['revoke', '--lease', issued.id, ...reason, '--config', place.config])
    const { code, stderr } = await lease('resume', issued.id, ...reason)
    expect([code, stderr]).toEqual([1, 'leasegate: the lease is revoked: resume is not possible any more\n'])
  })

  test.each([[], ['--reason', ''], ['--reason', 'a\nb']])(
    'a reason like %j is a mistake',
    async (...args) => {
      const { lease: issued } = await place.issue()
      expect(await lease('suspend', issued.id, ...args)).toMatchObject({ code: 2, stdout: '' })
      expect(await shown(issued.id)).toMatchObject({ state: 'active' })
    },
  )
})

describe('lease renew', () => {
  const renewed = async (id: string, ...more: string[]) => {
    const { code, stdout, stderr } = await lease('renew', id, '--json', ...more)
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as { token: string; lease: Json }
  }

  test('signs a further token for the very same grant', async () => {
    const { token, lease: issued } = await place.issue()
    const more = await renewed(issued.id)
    expect(more.lease).toEqual({ ...issued, renewals: 1, expires_at: expect.any(Number) })
    expect([more.token === token, await status(more.token)]).toEqual([false, 200])
    const claims = (text: string) =>
      JSON.parse(Buffer.from(text.split('.')[1]!, 'base64url').toString()) as Json
    const { iat: _, nbf: __, exp: ___, jti: ____, ...before } = claims(token)
    expect(claims(more.token)).toMatchObject(before)
  })

  test('never beyond the end of the lease', async () => {
    const { lease: issued } = await place.issue()
    const maxExpiresAt = Math.floor(Date.now() / 1000) + 30
    await withStore(async ({ leases }) => {
      const record = (await leases.get(issued.id))!
      await leases.put({ ...record, maxExpiresAt, expiresAt: maxExpiresAt - 20 })
    })
    expect((await renewed(issued.id, '--ttl', '5m')).lease.expires_at).toBe(maxExpiresAt)
  })

  test.each(['suspend', 'complete'])('refuses after %s', async (verb) => {
    const { lease: issued } = await place.issue()
    await lease(verb, issued.id, ...reason)
    const { code, stdout, stderr } = await lease('renew', issued.id)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^leasegate: the lease is (suspended|completed)\n$/)
  })

  test('refuses after its agent was revoked, and after its end', async () => {
    const { lease: issued } = await place.issue('--agent', 'renewing@1')
    await place.run(['revoke', '--agent', 'renewing', '--reason', 'r', '--config', place.config])
    expect(await lease('renew', issued.id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('revoked'),
    })
    const past = Math.floor(Date.now() / 1000) - 7_200
    await withStore(({ leases }) => leases.put(leaseRecord({ id: 'lse_past', issuedAt: past })))
    expect(await lease('renew', 'lse_past')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('expired'),
    })
  })

  test.each([
    ['the broker granted', { decision: { id: 'dec_1', reasons: [], policyDigest: 'sha256:00' } }],
    ['is bound to a key', { binding: { method: 'dpop', thumbprint: 'k'.repeat(43) } }],
    ['another issuer signed', { issuer: 'https://other.example' }],
  ] as const)('refuses a lease that %s', async (_, over) => {
    const issuer = `http://127.0.0.1:${place.ports.control}`
    const record = leaseRecord({ id: 'lse_not_ours', issuer, ...over })
    await withStore(({ leases }) => leases.put(record))
    const { code, stdout, stderr } = await lease('renew', 'lse_not_ours')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('its agent renews it at the broker')
  })
})
