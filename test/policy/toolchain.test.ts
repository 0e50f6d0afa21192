import { describe, expect, it } from 'vitest'
import { openEngine } from '../../src/policy/evaluate.ts'
import { build, check, fmt, runToolchain, test } from '../../src/policy/toolchain.ts'
import { PolicyDir, reading, shippedDir } from './support.ts'

const sound = 'package leasegate.authz\n\ndecision := {"effect": "allow", "reasons": []}\n'

describe('a mistake is named with its file and line', () => {
  it.each<[name: string, files: Record<string, string>, expected: object]>([
    [
      'a syntax error',
      { 'authz.rego': 'package leasegate.authz\n\ndecision := {\n' },
      { file: 'authz.rego', line: 4, code: 'rego_parse_error' },
    ],
    [
      'an unsafe variable',
      { 'authz.rego': `${sound}\nfound if x == y\n` },
      { file: 'authz.rego', line: 5, code: 'rego_unsafe_var_error', message: 'var x is unsafe' },
    ],
    [
      'a misspelt field of the input',
      { 'authz.rego': sound, 'rules/more.rego': 'package more\n\nfound if input.lease.user_id == "alice"\n' },
      {
        file: 'rules/more.rego',
        line: 3,
        code: 'rego_type_error',
        column: 22,
        endColumn: 29,
        message: 'undefined ref: input.lease.user_id',
        hint: 'did you mean input.lease.user?',
      },
    ],
    [
      'a comparison that can never hold',
      { 'authz.rego': `${sound}\nfound if input.lease.user == 1\n` },
      {
        file: 'authz.rego',
        line: 5,
        code: 'rego_type_error',
        message: expect.stringContaining('match error'),
      },
    ],
    ...[
      'sprintf("%v", [1])',
      'replace("a", "", "b")',
      'time.now_ns()',
      'http.send({})',
      'io.jwt.decode("")',
      'opa.runtime()',
    ].map((call): [string, Record<string, string>, object] => [
      `the builtin in ${call}`,
      { 'authz.rego': `${sound}\nfound := ${call}\n` },
      {
        file: 'authz.rego',
        line: 5,
        code: 'rego_type_error',
        message: `undefined function ${call.slice(0, call.indexOf('('))}: not a builtin that policies can call`,
        hint: expect.any(String),
      },
    ]),
    [
      'an import that nothing uses',
      { 'authz.rego': 'package leasegate.authz\n\nimport data.users\n\ndecision := true\n' },
      { file: 'authz.rego', line: 3, message: 'import data.users unused' },
    ],
    [
      'JSON data with a key twice',
      { 'authz.rego': sound, 'data/users.json': '{\n  "a": 1,\n  "a": 2\n}' },
      { file: 'data/users.json', line: 3, code: 'data_invalid', message: 'duplicate_key' },
    ],
    [
      'broken YAML data',
      { 'authz.rego': sound, 'data/users.yaml': 'a: 1\nb: [\n' },
      { file: 'data/users.yaml', line: 3, code: 'data_invalid' },
    ],
    [
      'two files for one part of the data',
      { 'authz.rego': sound, 'data/users.json': '{"a": 1}', 'data/users.yaml': 'a: 2\n' },
      { file: 'data/users.yaml', code: 'data_conflict' },
    ],
    [
      'sources beside a compiled module',
      { 'authz.rego': sound, 'policy.wasm': '' },
      { file: 'policy.wasm', code: 'policy_ambiguous' },
    ],
    ['nothing at all', {}, { message: 'no .rego file' }],
  ])('%s', async (_name, files, expected) => {
    using dir = PolicyDir.of(files)
    const { diagnostics } = await check(dir.path)
    expect(diagnostics).toContainEqual(expect.objectContaining(expected))
  })

  it('every one of them at once', async () => {
    using dir = PolicyDir.of({ 'authz.rego': `${sound}\na if x\n\nb if y\n` })
    const { diagnostics } = await check(dir.path)
    expect(diagnostics.map(({ line }) => line)).toEqual([5, 7])
  })

  it('no decision to ask for', async () => {
    using dir = PolicyDir.of({ 'a.rego': 'package leasegate.other\n\nallow := true\n' })
    const { diagnostics, wasm } = await build(dir.path)
    expect(diagnostics[0]?.message).toContain('data.leasegate.authz.decision')
    expect(wasm).toBeUndefined()
  })
})

describe('tests of a policy', () => {
  it('pass for the policy that ships, and reach every line of it', async () => {
    const { diagnostics, tests, coverage } = await test(shippedDir)
    expect(diagnostics).toEqual([])
    expect(tests).toBeGreaterThan(30)
    expect(coverage).toBe(100)
  })

  it('that fail are named with file and line, those that pass are not', async () => {
    using dir = PolicyDir.of({
      'authz.rego': sound,
      'authz_test.rego': `package leasegate.authz_test

import data.leasegate.authz

test_allowed if authz.decision.effect == "allow" with input.version as 1

test_denied if authz.decision.effect == "deny" with input.version as 1
`,
    })
    const { diagnostics, tests } = await test(dir.path)
    expect(tests).toBe(2)
    expect(diagnostics).toEqual([
      { file: 'authz_test.rego', line: 7, column: 1, code: 'test_failed', message: 'test_denied' },
    ])
  })

  it.each([
    ['is skipped', 'todo_test_a if 1 == 1'],
    ['exists twice', 'test_a if 1 == 1\n\ntest_a if 1 == 2'],
    ['is neither a plain rule nor a table', 'test_a contains 1 if 1 == 1'],
  ])('that would say nothing are refused: one that %s', async (complaint, rules) => {
    using dir = PolicyDir.of({ 'authz.rego': sound, 'a_test.rego': `package a_test\n\n${rules}\n` })
    const { diagnostics } = await test(dir.path)
    expect(diagnostics).toEqual([expect.objectContaining({ file: 'a_test.rego', code: 'regoc_test_error' })])
    expect(diagnostics[0]!.message).toContain(complaint)
  })

  it('run on both engines, and a difference is a failure', async () => {
    // One of the few differences that are left (regoc/capabilities.go): an IPv4-mapped IPv6 address.
    using dir = PolicyDir.of({
      'authz.rego': sound,
      'a_test.rego': 'package a_test\n\ntest_mapped if net.cidr_contains("10.0.0.0/8", "::ffff:10.1.2.3")\n',
    })
    const { diagnostics } = await test(dir.path)
    expect(diagnostics).toEqual([
      expect.objectContaining({ file: 'a_test.rego', line: 3, code: 'engines_differ' }),
    ])
  })
})

describe('a compiled module', () => {
  it('reads data at run time: a revoked id is never folded away', async () => {
    const files = {
      'authz.rego': `package leasegate.authz

decision := {"effect": "allow", "reasons": []} if not data.revoked[input.lease.id]
`,
    }
    // Compiled while nobody is revoked, as -O1 under default roots would have it for ever.
    const { wasm } = await runToolchain({ files, data: { revoked: {} } }, ['build'])
    const input = JSON.stringify(reading)
    const before = await openEngine({ wasm: wasm!, data: { revoked: {} } })
    const after = await openEngine({ wasm: wasm!, data: { revoked: { [reading.lease.id]: true } } })
    expect(before.evaluate('leasegate/authz/decision', input)).toHaveLength(1)
    expect(after.evaluate('leasegate/authz/decision', input)).toEqual([])
  })

  it('is the same bytes each time', async () => {
    const [one, two] = await Promise.all([build(shippedDir), build(shippedDir)])
    expect(Buffer.from(one.wasm!).equals(two.wasm!)).toBe(true)
  })
})

describe('formatting', () => {
  it('names what would change, and writes only when asked to', async () => {
    using dir = PolicyDir.of({ 'authz.rego': sound, 'b.rego': 'package b\nx=1' })
    expect(await fmt(dir.path, { write: false })).toEqual({ diagnostics: [], changed: ['b.rego'] })
    expect(dir.read('b.rego')).toBe('package b\nx=1')
    expect(await fmt(dir.path, { write: true })).toEqual({ diagnostics: [], changed: ['b.rego'] })
    expect(dir.read('b.rego')).toBe('package b\n\nx := 1\n')
    expect(await fmt(dir.path, { write: false })).toEqual({ diagnostics: [], changed: [] })
  })

  it('finds nothing to do in the policy that ships', async () => {
    expect(await fmt(shippedDir, { write: false })).toEqual({ diagnostics: [], changed: [] })
  })
})
