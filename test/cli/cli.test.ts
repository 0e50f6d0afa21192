// The program as such: usage, version, and the demo that the README starts with.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { version } from '../../src/version.ts'
import { startHttp } from '../support/backends.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  await place.compilePolicy()
})
afterEach(() => place[Symbol.asyncDispose]())

describe('usage', () => {
  test('--version and --help are answered with 0', async () => {
    expect(await place.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
    const help = await place.run(['--help'])
    expect([help.code, help.stderr]).toEqual([0, ''])
    for (const command of ['serve', 'demo', 'lease', 'revoke', 'policy', 'config']) {
      expect(help.stdout).toContain(command)
    }
  })

  const mistakes = [[], ['nothing'], ['serve', '--port', '1'], ['lease'], ['policy', 'nothing'], ['config']]
  test.each(mistakes.map((args) => [args]))(
    '%j is a mistake: exit code 2, and no stack trace',
    async (args) => {
      const { code, stdout, stderr } = await place.run(args)
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).not.toBe('')
      expect(stderr).not.toContain('    at ')
    },
  )
})

describe('demo', () => {
  test('--once performs every step and finds every answer as expected', async () => {
    // Somewhere to put the sample backend.
    const reserved = await startHttp(() => {})
    await reserved.close()
    const operation = { resource: 'customer/{id}', sensitivity: 'confidential' }
    const operations = [
      { match: 'GET /customers/{id}', verb: 'read', ...operation },
      { match: 'PATCH /customers/{id}', verb: 'update', ...operation },
      {
        match: 'DELETE /customers/{id}',
        verb: 'delete',
        ...operation,
        sensitivity: 'restricted',
        risk: 'high',
      },
    ]
    place.configure(reserved.url, {}, { operations })
    const { code, stdout, stderr } = await place.run(['demo', '--once', '--config', place.config])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('all as expected')
    for (const word of ['outside_lease', 'lease_revoked', 'Maria Lindqvist', 'Tomás Rivera', 'completed']) {
      expect(stdout).toContain(word)
    }
    expect(stdout).toMatch(/waiting act_.*\n {2}approved by carol@example\.com: asked for in SUP-4711\n/)
    expect(stdout).toContain('the backend has seen 1 DELETE')
    expect(stdout).toMatch(
      /"approval":\{"id":"act_\w+","kind":"exact","approved_by":\["carol@example\.com"\]\}/,
    )
  })
})
