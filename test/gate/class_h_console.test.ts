// H17 on a whole gate, in a real Chromium: pages of another origin, frames, an agent that writes markup, bidi controls
// and line breaks wherever it can write at all, and a requester who would approve under another spelling.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readCustomer, startTestBroker, type TestBroker } from '../support/broker.ts'
import { openBrowser } from '../support/browser.ts'
import { Browser } from '../support/console.ts'
import { eventually } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

const patience = { timeout: 20_000 }
/** Runs wherever it is taken for markup. */
const markup = `"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
/** Reads otherwise than it is. */
const trick = '\u202egnp.exe\u2066\u200b\u2028Approved by: Carol\r\nrisk: low'
const owners = { groups: ['crm-owners'] }
const browser = openBrowser()
let broker: TestBroker
let evil: Server
/** Pages of another site, and of another port of this host. */
let elsewhere: readonly string[]
let evilPage = ''

beforeAll(async () => {
  broker = await startTestBroker()
  evil = createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(evilPage))
  evil.listen(0, '127.0.0.1')
  await once(evil, 'listening')
  const { port } = evil.address() as AddressInfo
  elsewhere = [`http://localhost:${port}`, `http://127.0.0.1:${port}`]
}, 90_000)
afterAll(async () => {
  evil.closeAllConnections()
  evil.close()
  await broker.close()
})

/** A link for a person, as `leasegate console` gets it. */
async function link(body: object): Promise<string> {
  const headers = { authorization: `Bearer ${broker.operatorToken()}`, 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body: JSON.stringify(body) }
  const made = await fetch(`${broker.brokerUrl}/console/links`, init)
  return ((await made.json()) as { url: string }).url
}

/** A page of somebody who has just signed in. */
async function pageOf(person: object, expected: readonly RegExp[] = []): Promise<Page> {
  const page = await browser.page({ expected })
  await page.goto(await link(person))
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForSelector('main.view', patience)
  return page
}

/** The same without a screen. */
async function signedIn(person: object): Promise<Browser> {
  const token = new URL(await link(person)).searchParams.get('token')!
  const own = new Browser(broker.brokerUrl)
  await own.post('/console/link', { token })
  await own.learn()
  return own
}

interface Held {
  readonly id: string
  readonly fingerprint: string
  readonly lease: string
  readonly decision: string
}

/** A delete that waits, with everything in it that an agent can choose. */
async function hold(hostile = false): Promise<Held> {
  const constraints = { max_risk: 'high' }
  const id = hostile ? encodeURIComponent(markup.split('<script>')[0]!).replaceAll("'", '%27') : '9821'
  const detail = {
    ...readCustomer,
    identifier: hostile ? 'crm:customer/*' : `crm:customer/${id}`,
    constraints,
  }
  const risky = { ...detail, actions: ['read', 'delete'], sensitivity: 'restricted' }
  const lease = await broker.exchange({
    stage: 'execute',
    authorization_details: JSON.stringify([risky]),
    ...(hostile && { purpose: markup, task: `jira:${markup}` }),
  })
  expect(lease.body).toMatchObject({ lease_id: expect.any(String) })
  const answer = await fetch(`${broker.gateUrl}/crm/customers/${id}?q=${encodeURIComponent(markup)}`, {
    method: 'DELETE',
    headers: {
      authorization: `Bearer ${lease.body.access_token}`,
      'content-type': 'application/json',
      ...(hostile && { 'x-note': markup, 'if-match': markup, 'accept-language': markup }),
    },
    body: JSON.stringify({ note: markup + trick, [markup]: trick }),
  })
  const body = (await answer.json()) as Json
  expect(body).toMatchObject({ code: 'approval_required' })
  const { task } = body.access_request as { task: { id: string } }
  const own = await signedIn({ user: 'look@example.com', ...owners })
  const { fingerprint } = (await (await own.fetch(`/actions/${task.id}`)).json()) as Held
  const decision = answer.headers.get('decision-id') ?? ''
  return { id: task.id, fingerprint, lease: String(lease.body.lease_id), decision }
}

async function stateOf({ id }: Held): Promise<unknown> {
  const headers = { authorization: `Bearer ${broker.operatorToken()}` }
  const answer = await fetch(`${broker.brokerUrl}/actions/${id}`, { headers })
  return ((await answer.json()) as Json).state
}

/** Records of who has tried to decide on it. */
function attemptsOn({ id }: Held): Json[] {
  return broker.audit().filter(({ event, action_id }) => event === 'approval' && action_id === id)
}

describe('H17a a request that a page of another origin makes', () => {
  const attempts = [
    [
      'a form',
      (url: string, body: string) => `<form method=post enctype="text/plain" action="${url}">
      <input name='${body.slice(0, -1)},"x":"' value='"}'></form><script>document.forms[0].submit()</script>`,
    ],
    [
      'a fetch',
      (url: string, body: string) => `<script>fetch('${url}', { method: 'POST', credentials: 'include',
      mode: 'no-cors', body: '${body}' })</script>`,
    ],
    [
      'a fetch with the header',
      (url: string, body: string) => `<script>fetch('${url}', { method: 'POST',
      credentials: 'include', headers: { 'content-type': 'application/json', 'leasegate-csrf': 'x' }, body: '${body}' })
      .catch(() => {})</script>`,
    ],
  ] as const
  test.each(attempts)('decides nothing: %s', async (_, write) => {
    const held = await hold()
    const body = JSON.stringify({ fingerprint: held.fingerprint, reason: 'x' })
    const page = await pageOf({ user: 'carol@example.com', ...owners }, [/./])
    for (const origin of elsewhere) {
      evilPage = write(`${broker.brokerUrl}/actions/${held.id}/approve`, body)
      const before = attemptsOn(held).length
      const tab = await page.context().newPage()
      await tab.goto(origin, { waitUntil: 'commit' })
      // Of what no form can send, that is the browser's own question whether it may.
      await eventually(() => attemptsOn(held).length > before, 'the record of the attempt')
      expect(attemptsOn(held).every(({ step }) => step === null)).toBe(true)
      expect(await stateOf(held)).toBe('pending')
    }
  })

  test('reads nothing', async () => {
    const page = await pageOf({ user: 'carol@example.com', ...owners }, [/./])
    for (const origin of elsewhere) {
      evilPage = '<title>evil</title>'
      await page.goto(origin)
      const get = (mode: string) =>
        page.evaluate(
          `fetch('${broker.brokerUrl}/me', { credentials: 'include', mode: '${mode}' }).then((r) => r.text(), () => 'no')`,
        )
      const read = [await get('cors'), await get('no-cors')].join()
      expect([origin, read]).toEqual([origin, expect.stringMatching(/^(no|),(no|)$/)])
    }
  })

  test('under a name of its own for this very machine has no session', async () => {
    const page = await pageOf({ user: 'carol@example.com', ...owners }, [/./])
    const { port } = new URL(broker.brokerUrl)
    await page.goto(`http://localhost:${port}/console`)
    const status = await page.evaluate(`fetch('/me').then(({ status }) => status)`)
    expect(status).toBe(401)
  })
})

test('H17b the console and what it tells are in no frame, and nobody keeps a handle on its window', async () => {
  const page = await pageOf({ user: 'carol@example.com', ...owners }, [/./])
  for (const origin of elsewhere) {
    evilPage = `<iframe src="${broker.brokerUrl}/console"></iframe><iframe src="${broker.brokerUrl}/me"></iframe>`
    await page.goto(origin, { waitUntil: 'load' })
    const urls = () =>
      page
        .frames()
        .slice(1)
        .map((frame) => frame.url().split(':')[0])
    await expect.poll(urls, patience).toEqual(['chrome-error', 'chrome-error'])
  }
  const [popup] = await Promise.all([
    page.waitForEvent('popup', patience),
    page.evaluate(`void (window.opened = open('${broker.brokerUrl}/console'))`),
  ])
  await popup.waitForSelector('main', patience)
  const isCut = await page.evaluate('window.opened.closed')
  expect(isCut).toBe(true)
})

describe('H17c what a hostile agent writes', () => {
  let held: Held
  beforeAll(async () => {
    held = await hold(true)
    const mallory = { user: markup, groups: ['crm-owners', markup], roles: ['admin'] }
    const own = await signedIn(mallory)
    const no = await own.order(`/actions/${held.id}/refuse`, {
      fingerprint: held.fingerprint,
      reason: markup,
    })
    expect(no.status).toBe(200)
    const other = await hold(true)
    const order = { fingerprint: other.fingerprint, reason: markup, repeat: { calls: 2, seconds: 60 } }
    expect((await own.order(`/actions/${other.id}/approve`, order)).status).toBe(200)
    held = other
    const suspended = await own.order(`/leases/${(await hold(true)).lease}/suspend`, { reason: markup })
    expect(suspended.status).toBe(200)
    await eventually(() => broker.auditText().includes('"step":"approved"'), 'the record of the yes')
  })

  const views: readonly (readonly [string, (held: Held) => string, string])[] = [
    ['the inbox', () => '#/inbox', 'alike, by agent:support-triage'],
    ['an action', ({ id }) => `#/inbox/${id}`, 'onerror'],
    ['the leases', () => '#/leases', 'onerror'],
    ['a lease', ({ lease }) => `#/leases/${lease}`, 'onerror'],
    ['the decisions', () => '#/decisions', 'onerror'],
    ['a decision', ({ decision }) => `#/decisions/${decision}`, 'onerror'],
    ['the agents', () => '#/agents', 'support-triage'],
    ['the gates', () => '#/health', 'embedded'],
    ['whoever is signed in', () => '#/you', 'onerror'],
    ['an address that is made up', () => `#/inbox/${encodeURIComponent(markup)}`, 'no such'],
    ['a view that is made up', () => `#/${encodeURIComponent(markup)}`, 'Nothing is open'],
  ]
  test('is text in every view', async () => {
    const person = { user: markup, groups: ['crm-owners', markup], roles: ['admin'] }
    const page = await pageOf(person, [/status of 404/])
    const main = page.locator('main.view')
    for (const [name, hash, shows] of views) {
      await page.goto(`${broker.brokerUrl}/console${hash(held)}`)
      await expect.poll(() => main.textContent(), { ...patience, message: name }).toContain(shows)
      if (name === 'an action') await page.waitForSelector('.bytes', patience)
      expect([name, await page.title()]).toEqual([name, expect.stringMatching(/^(\(\d+\) )?Leasegate$/)])
      expect([name, await page.locator('main img, main script, main iframe, main object').count()]).toEqual([
        name,
        0,
      ])
      const shown = (await page.locator('body').textContent()) ?? ''
      expect([name, /[\p{Bidi_Control}\u200b\u2028\u2029]/u.test(shown)]).toEqual([name, false])
    }
  }, 60_000)

  test('is not run by any sink: the page has no way to make markup of text', async () => {
    const page = await pageOf({ user: 'carol@example.com', ...owners }, [/./])
    const blocked = await page.evaluate(`[
      () => Object.assign(document.createElement('p'), { innerHTML: '<b>x</b>' }),
      () => document.createElement('script').setAttribute('src', 'https://evil.example/x.js'),
      () => { document.createElement('script').text = '1' },
      () => trustedTypes.createPolicy('x', {}),
    ].map((run) => { try { run(); return 'ran' } catch { return 'blocked' } })`)
    expect(blocked).toEqual(['blocked', 'blocked', 'blocked', 'blocked'])
  })

  test('is text on the page that a link leads to', async () => {
    const page = await browser.page()
    await page.goto(await link({ user: markup }))
    expect(await page.locator('img, script').count()).toBe(0)
    expect(await page.locator('h1').innerText()).toBe(`Sign in as ${markup}`)
  })
})

describe('H17d the requester who would approve', () => {
  const spellings: readonly (readonly [string, string])[] = [
    ['as they are called', 'alice@example.com'],
    ['in capitals', 'ALICE@EXAMPLE.COM'],
    ['in full width', '\uff41lice@example.com'],
    ['with a space inside', 'ali ce@example.com'],
    ['with a ligature of the same letters', 'alice@example\u2024com'],
  ]
  test.each(spellings)('%s is refused, and gets no button', async (_, user) => {
    const held = await hold()
    const own = await signedIn({ user, ...owners, roles: ['admin'] })
    const { you } = (await (await own.fetch(`/actions/${held.id}`)).json()) as { you: Json }
    expect(you).toMatchObject({ may: false, why_not: 'requester' })
    for (const verb of ['approve', 'refuse']) {
      const answer = await own.order(`/actions/${held.id}/${verb}`, {
        fingerprint: held.fingerprint,
        reason: 'mine',
      })
      expect([answer.status, await answer.json()]).toEqual([
        403,
        expect.objectContaining({ code: 'approver_not_allowed', reasons: ['requester'] }),
      ])
    }
    expect(await stateOf(held)).toBe('pending')
  })
})
