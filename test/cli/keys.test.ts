// `leasegate keys` as people run it: what it prints, what it leaves in the file, and what it says no to.
import { chmodSync, readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { generatePrivateJwk } from '../../src/lease/jose.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeAll(async () => {
  place = await Workplace.open()
  place.write('policies/authz.rego', 'package leasegate.authz\n')
})
afterAll(() => place[Symbol.asyncDispose]())
let files = 0
beforeEach(() => {
  const changes = { broker: { key_file: `./data/broker-${files++}.key` } }
  place.configure('http://127.0.0.1:3000', changes)
})

const file = () => place.path(`data/broker-${files - 1}.key`)
const keys = (...args: string[]) => place.run(['keys', ...args, '-c', place.config], { CRM_TOKEN: '' })
const listed = async (...args: string[]) =>
  JSON.parse((await keys(...args, '--json')).stdout) as { kid: string; state: string }[]

/** A broker's first key, as a version without rotation left it. */
async function begin(): Promise<string> {
  place.write(`data/broker-${files - 1}.key`, JSON.stringify(await generatePrivateJwk()))
  chmodSync(file(), 0o600)
  return (await listed('list'))[0]!.kid
}

describe('keys rotate', () => {
  test('makes the next key and says when it signs; nobody sees a private part', async () => {
    const first = await begin()
    const { code, stdout, stderr } = await keys('rotate')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(
      new RegExp(`^  ${first}  signs, made \\d{4}-\\d\\d-\\d\\d\\n  \\S{43}  next, signs in 1[01]m`),
    )
    const { keys: stored } = JSON.parse(readFileSync(file(), 'utf8')) as { keys: { d: string }[] }
    const printed = [stdout, (await keys('list')).stdout, (await keys('list', '--json')).stdout].join()
    for (const { d } of stored) expect(printed).not.toContain(d)
    expect(statSync(file()).mode & 0o777).toBe(0o600)
  })

  test('a second time changes nothing while a key waits to sign', async () => {
    await begin()
    await keys('rotate')
    const before = readFileSync(file(), 'utf8')
    const { code, stderr } = await keys('rotate')
    expect([code, stderr]).toEqual([1, expect.stringContaining('waits to sign already')])
    expect(readFileSync(file(), 'utf8')).toBe(before)
  })

  test('--compromised leaves the new key alone', async () => {
    const first = await begin()
    const left = await listed('rotate', '--compromised')
    expect(left).toEqual([expect.objectContaining({ state: 'signs' })])
    expect(left[0]!.kid).not.toBe(first)
  })

  test('--now and --compromised contradict each other', async () => {
    const { code, stderr } = await keys('rotate', '--now', '--compromised')
    expect([code, stderr]).toEqual([2, expect.stringContaining('leave --now out')])
  })
})

describe.each(['list', 'rotate'])('keys %s', (command) => {
  test('makes no first key: that is for the broker', async () => {
    const { code, stderr } = await keys(command)
    expect([code, stderr]).toEqual([1, expect.stringContaining('there is no key file yet')])
    expect(() => statSync(file())).toThrow(/ENOENT/)
  })

  test('uses no file that others can read', async () => {
    await begin()
    chmodSync(file(), 0o640)
    const { code, stderr } = await keys(command)
    expect([code, stderr]).toEqual([1, expect.stringContaining('chmod 600')])
  })
})
