// Leases from the command line, as child processes beside a gate that runs: issued, used, revoked.
import { readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { crmToken, issueArguments, type Served, Workplace } from './process.ts'

let backend: RecordingBackend
let place: Workplace
let served: Served
const printed: string[] = []

beforeAll(async () => {
  backend = await startRecordingBackend()
  place = await Workplace.open()
  await place.compilePolicy()
  place.configure(backend.url)
  served = await place.serve()
})
afterAll(async () => {
  await place[Symbol.asyncDispose]()
  await backend.close()
})

async function run(...args: string[]) {
  const result = await place.run(args)
  printed.push(result.stdout, result.stderr)
  return result
}

function read(token: string, id = '9821'): Promise<Response> {
  return fetch(`${place.origin}/crm/customers/${id}`, { headers: { authorization: `Bearer ${token}` } })
}

const withConfig = () => ['--config', place.config]

describe('lease issue', () => {
  test('prints the lease for people, and a token that the gate accepts', async () => {
    const { code, stdout, stderr } = await run(...issueArguments(place.config))
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^issued lse_[0-9A-Z]{26}\n/)
    expect(stdout).toContain('read,update crm:customer/9821')
    const token = stdout.trimEnd().split('\n').at(-1)!
    const response = await read(token)
    expect([response.status, response.headers.get('lease-id')]).toEqual([200, /lse_\w+/.exec(stdout)?.[0]])
    expect((await read(token, '1042')).status).toBe(403)
  })

  test('--json gives token and lease to programs', async () => {
    const { token, lease } = await place.issue('--ttl', '90s')
    expect(lease).toMatchObject({
      id: expect.stringMatching(/^lse_/),
      issuer: `http://127.0.0.1:${place.ports.control}`,
      user: 'alice@example.com',
      agent: 'agent:support-triage',
      agent_version: '3.2.1',
      task: { system: 'jira', id: 'SUP-4711', purpose: 'billing question' },
      stage: 'execute',
      state: 'active',
    })
    expect(Number(lease.expires_at) - Number(lease.issued_at)).toBe(90)
    expect((await read(token)).status).toBe(200)
  })

  test('never issues for longer than the broker may', async () => {
    const { lease } = await place.issue('--ttl', '1h')
    expect(Number(lease.expires_at) - Number(lease.issued_at)).toBe(300)
  })

  const usage: readonly (readonly [string, string[], string])[] = [
    ['a grant that cannot be read', ['--allow', 'read'], '--allow'],
    ['a resource without backend', ['--allow', 'read customer/1'], '--allow'],
    ['an unknown sensitivity', ['--allow', 'read crm:customer/1 topsecret'], '--allow'],
    ['an unknown stage', ['--stage', 'root'], 'observe, draft, execute'],
    ['a duration without unit', ['--ttl', '300'], 'write 90s, 5m or 1h'],
    ['an unknown option', ['--forever'], '--forever'],
  ]
  test.each(usage)('refuses %s with exit code 2', async (_, more, word) => {
    const { code, stdout, stderr } = await run(...issueArguments(place.config), ...more)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(word)
    expect(stderr).not.toContain('    at ')
  })

  test.each(['--user', '--agent', '--task', '--purpose', '--allow'])('asks for %s', async (name) => {
    const args = issueArguments(place.config)
    args.splice(args.indexOf(name), 2)
    expect(await run(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(name) })
  })
})

describe('revoke', () => {
  test('kills a lease at the gate that runs, for good', async () => {
    const { token, lease } = await place.issue()
    expect((await read(token)).status).toBe(200)
    const { code, stdout } = await run('revoke', '--lease', lease.id, '--reason', 'leaked', ...withConfig())
    expect([code, stdout]).toEqual([0, expect.stringContaining(`revoked lease ${lease.id}  leaked\n`)])
    expect(stdout).toContain('ends 1 recorded lease')
    await eventually(async () => (await read(token)).status === 401, 'the revocation')
    expect(await (await read(token)).json()).toMatchObject({ code: 'lease_revoked' })
    const shown = await run('lease', 'show', lease.id, ...withConfig(), '--json')
    expect(JSON.parse(shown.stdout)).toMatchObject({
      state: 'revoked',
      revoked: { scope: 'lease', reason: 'leaked', by: expect.stringMatching(/^cli:/) },
      when: { changed: { reason: 'leaked' } },
    })
  })

  test('kills every lease of a task under the name that it was issued with', async () => {
    const { token } = await place.issue('--task', 'OPS-1')
    expect((await read(token)).status).toBe(200)
    const { stdout } = await run('revoke', '--task', 'OPS-1', '--reason', 'done', ...withConfig(), '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      scope: 'task',
      value: 'task:OPS-1',
      by: expect.stringMatching(/^cli:/),
    })
    await eventually(async () => (await read(token)).status === 401, 'the revocation')
  })

  test('says so when it ends nothing that is recorded: the name may be misspelt', async () => {
    const { code, stdout } = await run('revoke', '--agent', 'no-such', '--reason', 'r', ...withConfig())
    expect([code, stdout]).toEqual([0, expect.stringContaining('no recorded lease')])
  })

  const usage: readonly (readonly [string, string[]])[] = [
    ['nothing', ['--reason', 'r']],
    ['two things', ['--lease', 'lse_1', '--user', 'u', '--reason', 'r']],
    ['no reason', ['--lease', 'lse_1']],
  ]
  test.each(usage)('refuses %s with exit code 2', async (_, args) => {
    expect(await run('revoke', ...args, ...withConfig())).toMatchObject({ code: 2, stdout: '' })
  })
})

test('keys, tokens, state and records are for their owner alone, and no secret has been printed', async () => {
  const files = ['broker.key', 'control.token', 'leasegate.db', 'audit.jsonl']
  for (const name of files)
    expect([name, statSync(place.path(`data/${name}`)).mode & 0o777]).toEqual([name, 0o600])
  expect(statSync(place.path('data')).mode & 0o777).toBe(0o700)
  const { d } = JSON.parse(readFileSync(place.path('data/broker.key'), 'utf8')) as { d: string }
  const operatorToken = readFileSync(place.path('data/control.token'), 'utf8').trim()
  const everything = printed.join('') + served.output() + readFileSync(place.path('data/audit.jsonl'), 'utf8')
  for (const secret of [d, operatorToken, crmToken]) expect(everything).not.toContain(secret)
  expect(served.output() + readFileSync(place.path('data/audit.jsonl'), 'utf8')).not.toContain('eyJ')
})
