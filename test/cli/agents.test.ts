// `config check` and the start of `serve` with a directory of agents, as child processes.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  await place.compilePolicy()
  const providers = [{ issuer: 'https://cluster.example', audience: 'leasegate', subjects: 'agents' }]
  place.configure('http://127.0.0.1:3000', {
    broker: { agents: './agents', identity_providers: providers },
  })
})
afterEach(() => place[Symbol.asyncDispose]())

const agent = (credential: string) =>
  `client_id: triage\nversion: "1"\nenv: prod\nprofile: support\ncredentials:\n  - { ${credential} }\n`
const workload = (issuer: string) => agent(`method: workload_jwt, issuer: ${issuer}, subject: s`)

test('config check counts the agents', async () => {
  place.write('agents/triage.yaml', workload('https://cluster.example'))
  const { code, stdout, stderr } = await place.run(['config', 'check'])
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/operations?, 1 agent$/m)
})

test('config check finds what is wrong with them, and serve does not start', async () => {
  place.write('agents/triage.yaml', workload('https://custer.example'))
  place.write('agents/lookup.yaml', agent('methd: tls_client_auth'))
  for (const command of [['config', 'check'], ['serve']]) {
    const { code, stdout, stderr } = await place.run(command)
    expect([command, code, stdout]).toEqual([command, 2, ''])
    expect(stderr).toMatch(/triage\.yaml:6:29 .*did you mean https:\/\/cluster\.example\?/)
    expect(stderr).toMatch(/lookup\.yaml:6:5 .*write method: one of/)
  }
})

test('--json gives the same to programs', async () => {
  place.write('agents/triage.yaml', agent('methd: tls_client_auth'))
  const { code, stdout } = await place.run(['config', 'check', '--json'])
  expect(code).toBe(2)
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, problems: [{ line: 6, column: 5 }] })
})

test('revoke works whatever state the agents are in', async () => {
  place.write('agents/triage.yaml', 'client_id: [')
  const { code, stderr } = await place.run(['revoke', '--agent', 'triage', '--reason', 'incident', '--json'])
  expect(stderr).not.toContain('triage.yaml')
  expect(code).toBe(0)
})
