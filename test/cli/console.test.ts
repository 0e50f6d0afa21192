// `leasegate console` as people run it, against a gate that runs: the link signs in once, and what it says where there
// is none to make.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { Browser } from '../support/console.ts'
import { type Served, Workplace } from './process.ts'

let place: Workplace
let backend: RecordingBackend
let served: Served

beforeAll(async () => {
  backend = await startRecordingBackend()
  place = await Workplace.open()
  await place.compilePolicy()
  place.configure(backend.url)
  served = await place.serve()
}, 90_000)
afterAll(async () => {
  await place[Symbol.asyncDispose]()
  await backend.close()
})

const control = () => `http://127.0.0.1:${place.ports.control}`
const run = (...args: string[]) => place.run(['console', ...args, '-c', place.config], { CRM_TOKEN: '' })

async function follow(link: string): Promise<Browser> {
  const browser = new Browser(control())
  await browser.post('/console/link', { token: new URL(link).searchParams.get('token')! })
  return browser
}

test('the gate says how to sign in', () => {
  expect(served.output()).toContain(`${control()}/console  to sign in, run: leasegate console`)
})

test('without options the link is of whoever runs it, as an administrator', async () => {
  const { code, stdout, stderr } = await run()
  expect([code, stderr]).toEqual([0, ''])
  const browser = await follow(stdout.split('\n')[0]!)
  expect(await browser.learn()).toMatchObject({ roles: ['approver', 'admin'], sign_in: 'link' })
  expect((await browser.fetch('/leases')).status).toBe(200)
  const revoked = await browser.order('/revocations', { agent: 'triage', reason: 'a try' })
  expect(revoked.status).toBe(201)
})

test('with a user it is of them, with what is said and nothing else', async () => {
  const who = ['--user', 'kim@example.com', '--group', 'crm-owners', '--group', 'b']
  const link = JSON.parse((await run(...who, '--json')).stdout) as { url: string; expires_at: number }
  expect(link).toEqual({
    url: expect.stringContaining(`${control()}/console/link?token=`),
    expires_at: expect.any(Number),
  })
  const browser = await follow(link.url)
  expect(await browser.learn()).toMatchObject({
    user: 'kim@example.com',
    groups: ['crm-owners', 'b'],
    roles: ['approver'],
  })
  expect((await browser.fetch('/leases')).status).toBe(403)
  expect((await follow(link.url)).session).toBeUndefined()
})

test('the audit file says who made a link and who came, and holds no link and no cookie', async () => {
  const link = (await run('--user', 'lee@example.com')).stdout.split('\n')[0]!
  const browser = await follow(link)
  await browser.learn()
  await browser.order('/revocations', { agent: 'triage', reason: 'not for an approver' })
  await browser.order('/sign-out', {})
  await follow(link)
  const who = { user: 'lee@example.com', issuer: 'leasegate:links', subject: 'lee@example.com' }
  const expected = [
    {
      event: 'console_link',
      for: { user: 'lee@example.com', groups: [], roles: [] },
      asked_by: { operator: 'operator' },
    },
    { event: 'sign_in', who, by: 'link', decision: { effect: 'allow' }, peer: { ip: '127.0.0.1' } },
    { event: 'revocation_request', asked_by: who, decision: { code: 'operator_not_allowed' } },
    { event: 'sign_out', who },
    { event: 'sign_in', who: null, decision: { effect: 'deny', cause: 'link_unusable' } },
  ]
  const text = () => readFileSync(place.path('data/audit.jsonl'), 'utf8')
  // The tests before have left records of their own.
  const since = () => text().slice(Math.max(0, text().indexOf('lee@example.com')))
  await expect.poll(since, { timeout: 20_000 }).toMatch(/lee@example\.com[\s\S]*link_unusable.*\n$/)
  const records = text()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string })
  expect(records.slice(-5)).toMatchObject(expected)
  expect(text()).not.toContain(new URL(link).searchParams.get('token'))
  expect(text()).not.toContain(browser.csrf)
})

test.each([
  ['a role that there is not', ['--role', 'root'], 2, 'roles has to be a list of'],
  ['a user that looks like a group', ['--user', 'group:root'], 2, 'user has to name a person'],
  ['no gate there', ['--control', 'http://127.0.0.1:1'], 1, 'cannot be reached'],
  ['no URL', ['--control', 'here'], 2, 'write a URL such as'],
])('says no to %s', async (_, args, code, text) => {
  const run_ = await run(...args)
  expect([run_.code, run_.stdout]).toEqual([code, ''])
  expect(run_.stderr).toContain(text)
})
