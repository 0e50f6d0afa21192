// `policy bench` as people run it. Never how long anything takes: only what is told about it.
import { appendFileSync, cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  cpSync(join(packageRoot, 'policies'), place.path('policies'), { recursive: true })
  place.write('config.yaml', readFileSync(join(packageRoot, 'config.example.yaml'), 'utf8'))
})
afterEach(() => place[Symbol.asyncDispose]())

test('names every operation with its answer, and the ten most expensive rules with their place', async () => {
  const { code, stdout, stderr } = await place.run(['policy', 'bench', '--count', '50'])
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^crm DELETE \/customers\/\{id\} +(?:allow, )?hold +\d+\.\d +\d+\.\d$/m)
  expect(stdout).toMatch(
    /^data\.leasegate\.authz\.permitted +policies\/authz\.rego:\d+ +Permitted +\d+\.\d$/m,
  )
  expect(stdout.match(/^data\./gm)).toHaveLength(10)
})

test('times what an audit file has recorded, and tells programs', async () => {
  const input = JSON.parse(readFileSync(join(packageRoot, 'policies/input.json'), 'utf8'))
  const mallory = { ...input, lease: { ...input.lease, user: 'mallory@example.com' } }
  const lines = [{ policy: { input: mallory } }, { policy: null }].map((line) => JSON.stringify(line))
  place.write('audit.jsonl', `${lines.join('\n')}\n`)
  const args = ['policy', 'bench', '--inputs', 'audit.jsonl', '--count', '20', '--json']
  const { code, stdout, stderr } = await place.run(args)
  expect([code, stderr]).toEqual([0, 'audit.jsonl: 1 without an input, 0 not readable, left out\n'])
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    digest: expect.stringMatching(/^sha256:/),
    operations: [{ operation: 'crm GET /customers/{id}', effects: ['deny'], p50: expect.any(Number) }],
    rules: expect.arrayContaining([expect.objectContaining({ rule: 'data.leasegate.authz.deny_reasons' })]),
  })
})

test('the digest is the one that build prints, also of a policy with rules in shadow', async () => {
  const path = place.path('policies/authz.rego')
  const marked = 'deny_reasons contains "other_system" if input.lease.task.system != "jira"'
  appendFileSync(path, `\n# METADATA\n# custom:\n#   shadow: true\n${marked}\n`)
  const digestOf = async (...args: string[]) =>
    JSON.parse((await place.run(['policy', ...args, '--json'])).stdout).digest
  expect(await digestOf('bench', '--count', '5')).toBe(await digestOf('build'))
})

test('of a policy that does not compile is a no, with the place', async () => {
  place.write('policies/more.rego', 'package more\n\nx if y\n')
  const { code, stdout } = await place.run(['policy', 'bench'])
  expect([code, stdout]).toEqual([1, expect.stringContaining('policies/more.rego:3:')])
})

test.each([
  ['a configuration that is not there', ['-c', 'none.yaml'], 'none.yaml'],
  [
    'an audit file that is not there',
    ['--inputs', 'none.jsonl'],
    'none.jsonl: no audit file that can be read',
  ],
  ['an audit file without inputs', ['--inputs', 'config.yaml'], 'no record has an input of policy'],
  ['a count that is none', ['--count', '0'], '--count 0: write a number'],
])('of %s is a mistake', async (_name, args, message) => {
  const { code, stdout, stderr } = await place.run(['policy', 'bench', ...args])
  expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(message)])
})
