// The policy commands as child processes, on copies of the policies that ship.
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  cpSync(join(packageRoot, 'policies'), place.path('policies'), { recursive: true })
})
afterEach(() => place[Symbol.asyncDispose]())

const rego = () => readFileSync(place.path('policies/authz.rego'), 'utf8')

test('check, test and fmt --check accept the policies that ship', async () => {
  expect(await place.run(['policy', 'check'])).toMatchObject({ code: 0, stderr: '' })
  const tested = await place.run(['policy', 'test', 'policies'])
  expect([tested.code, tested.stdout]).toEqual([0, expect.stringMatching(/\d+ tests passed in both engines/)])
  expect(await place.run(['policy', 'fmt', '--check', 'policies'])).toMatchObject({ code: 0 })
})

test('check finds a misspelt field and says where it stands', async () => {
  place.write(
    'policies/authz.rego',
    rego().replace('input.request.risk == "low"', 'input.request.risck == "low"'),
  )
  const { code, stdout } = await place.run(['policy', 'check'])
  expect([code, stdout]).toEqual([1, expect.stringMatching(/policies\/authz\.rego:\d+:\d+.*risck/s)])
  const json = await place.run(['policy', 'check', '--json'])
  expect(json.code).toBe(1)
  expect(JSON.parse(json.stdout)).toMatchObject({
    ok: false,
    diagnostics: [{ file: 'authz.rego', line: expect.any(Number) }],
  })
})

test('check shows the source line with carets under the wrong part, and what was meant', async () => {
  place.write(
    'policies/authz.rego',
    rego().replace('harmless if input.request.risk == "low"', 'harmless if input.request.risck == "low"'),
  )
  const line =
    rego()
      .split('\n')
      .findIndex((text) => text.includes('risck')) + 1
  const gutter = ' '.repeat(String(line).length)
  const { code, stdout } = await place.run(['policy', 'check'])
  expect([code, stdout]).toEqual([
    1,
    `policies/authz.rego:${line}:27: error: undefined ref: input.request.risck [rego_type_error]
  ${line} | harmless if input.request.risck == "low"
  ${gutter} |                           ^^^^^
  ${gutter} = did you mean input.request.risk?
`,
  ])
})

test('check with a configuration finds what no operation of it has; a warning alone is a "no" too', async () => {
  place.configure('http://127.0.0.1:9')
  expect(await place.run(['policy', 'check', '-c', 'config.yaml'])).toMatchObject({ code: 0, stderr: '' })
  place.write(
    'policies/authz.rego',
    `${rego()}\ndeny_reasons contains "x" if input.request.params.customer == "1"\n`,
  )
  expect(await place.run(['policy', 'check'])).toMatchObject({ code: 0 })
  const { code, stdout } = await place.run(['policy', 'check', '--json', '-c', 'config.yaml'])
  expect([code, JSON.parse(stdout)]).toMatchObject([
    1,
    {
      ok: false,
      diagnostics: [{ code: 'operation_never', column: 51, end_column: 59, hint: expect.any(String) }],
    },
  ])
  place.write(
    'policies/authz.rego',
    rego().replace('params.customer', 'params.id').replace('data.users', 'data.usres'),
  )
  const warned = await place.run(['policy', 'check', '--json'])
  expect([warned.code, JSON.parse(warned.stdout)]).toMatchObject([
    1,
    {
      ok: false,
      diagnostics: [{ code: 'data_unknown', severity: 'warning', hint: 'did you mean data.users?' }],
    },
  ])
})

test('test fails where a test fails, and names it', async () => {
  place.write('policies/never_test.rego', 'package leasegate.authz_test\n\ntest_never if 1 == 2\n')
  const { code, stdout } = await place.run(['policy', 'test'])
  expect([code, stdout]).toEqual([1, expect.stringContaining('test_never')])
})

test('build writes a WebAssembly module; nothing where it does not compile', async () => {
  const built = await place.run(['policy', 'build', 'policies', '-o', 'out.wasm'])
  expect([built.code, built.stdout]).toEqual([
    0,
    expect.stringMatching(/out\.wasm {2}\d+ KiB {2}sha256:[0-9a-f]{64}/),
  ])
  expect(readFileSync(place.path('out.wasm')).subarray(0, 4)).toEqual(Buffer.from('\0asm'))
  place.write('policies/authz.rego', `${rego()}\nbroken if {\n`)
  expect(await place.run(['policy', 'build', 'policies', '-o', 'broken.wasm'])).toMatchObject({ code: 1 })
  expect(existsSync(place.path('broken.wasm'))).toBe(false)
})

test('fmt formats in place; with --check it only tells', async () => {
  const formatted = rego()
  const messy = formatted.replace('permitted if {\n', 'permitted   if   {\n\n')
  place.write('policies/authz.rego', messy)
  const told = await place.run(['policy', 'fmt', '--check'])
  expect([told.code, told.stdout, rego()]).toEqual([1, 'not formatted policies/authz.rego\n', messy])
  const done = await place.run(['policy', 'fmt'])
  expect([done.code, done.stdout, rego()]).toEqual([0, 'formatted policies/authz.rego\n', formatted])
})

test.each(['check', 'test', 'build', 'fmt'])(
  '%s of something that is no directory is a mistake',
  async (command) => {
    place.write('file', '')
    const begin = 'no such directory; `leasegate policy init` writes a first policy'
    for (const [name, said] of [
      ['nowhere', begin],
      ['file', 'not a directory'],
    ] as const) {
      const { code, stdout, stderr } = await place.run(['policy', command, name])
      expect([code, stdout, stderr]).toEqual([2, '', `leasegate: ${name}: ${said}\n`])
    }
  },
)
