// `policy init` as people run it: what it writes is formatted, checked and passes its tests at once.
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { check, fmt, test as testPolicy } from '../../src/policy/toolchain.ts'
import { packageRoot } from '../../src/version.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
})
afterEach(() => place[Symbol.asyncDispose]())

const example = readFileSync(join(packageRoot, 'config.example.yaml'), 'utf8')

const odd = `
public_origin: http://127.0.0.1:8080
backends:
  "null":
    url: http://127.0.0.1:3000/v2
    path_prefix: /n
    operations:
      - { match: "GET /it's/{id}/$&", verb: "true", resource: "a/{id}/b", sensitivity: public }
      - { match: "GET /a-b", verb: read, resource: a.b, sensitivity: restricted }
      - { match: "GET /a_b", verb: list, resource: a, sensitivity: internal, risk: high }
      - { match: "DELETE /", verb: un-do_it, resource: root, sensitivity: internal }
  on-e_2:
    url: http://127.0.0.1:3001
    path_prefix: /o
    operations:
      - { match: "POST /*/(x)", verb: e1, resource: a, sensitivity: public }
`

describe('policy init', () => {
  test.each([
    ['the example configuration', example, ['crm'], 4],
    ['names that YAML, Rego or a file system could take for something else', odd, ['null', 'on-e_2'], 5],
  ])(
    'writes for %s what passes at once',
    { timeout: 60_000 },
    async (_name, config, backends, operations) => {
      place.write('config.yaml', config)
      const { code, stdout, stderr } = await place.run(['policy', 'init', ...backends])
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain('leasegate policy test policies')
      const dir = place.path('policies')
      expect(await fmt(dir, { write: false })).toEqual({ diagnostics: [], changed: [] })
      expect(await check(dir)).toEqual({ diagnostics: [] })
      const shipped = await testPolicy(join(packageRoot, 'policies'))
      expect(await testPolicy(dir)).toMatchObject({ diagnostics: [], tests: shipped.tests! + operations })
    },
  )

  test('takes the rules from the policies that ship', async () => {
    place.write('config.yaml', example)
    expect(await place.run(['policy', 'init', 'crm', '--dir', 'deep/new'])).toMatchObject({ code: 0 })
    for (const file of [
      'authz.rego',
      'authz_test.rego',
      'data/scale.json',
      'input.json',
      '.regal/config.yaml',
    ])
      expect(readFileSync(place.path(`deep/new/${file}`), 'utf8')).toBe(
        readFileSync(join(packageRoot, 'policies', file), 'utf8'),
      )
    const tests = readFileSync(place.path('deep/new/operations_test.rego'), 'utf8')
    expect(tests).toContain('test_delete_customers_id if {')
    expect(tests).toContain('answer(user, request).effect == "hold"')
  })

  test.each([
    ['a file of its own', 'policies/input.json'],
    ['data of another format', 'policies/data/users.json'],
    ['a policy compiled elsewhere', 'policies/policy.wasm'],
  ])('writes nothing beside %s', async (_name, there) => {
    place.write('config.yaml', example)
    place.write(there, '{}')
    const { code, stdout, stderr } = await place.run(['policy', 'init', 'crm'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe(`leasegate: these files are here already, and nothing was written:\n  ${there}\n`)
    expect(existsSync(place.path('policies/authz.rego'))).toBe(false)
  })

  test('writes into an empty directory', async () => {
    place.write('config.yaml', example)
    mkdirSync(place.path('policies'))
    expect(await place.run(['policy', 'init', 'crm'])).toMatchObject({ code: 0 })
    expect(readdirSync(place.path('policies/data'))).toHaveLength(6)
  })

  test.each([
    ['a backend that is not configured', ['crn'], 'leasegate: config.yaml has no backend crn; it has crm\n'],
    ['a file as directory', ['crm', '-d', 'config.yaml'], 'config.yaml: not a directory\n'],
  ])('of %s is a mistake', async (_name, args, message) => {
    place.write('config.yaml', example)
    const { code, stdout, stderr } = await place.run(['policy', 'init', ...args])
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(message)])
  })
})
