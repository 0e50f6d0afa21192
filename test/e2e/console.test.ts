// People in a real Chromium and agents with `leasegate/client`, on a whole gate: what is pressed in a page is what the
// agent's call comes to.
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBrowser } from '../support/browser.ts'
import { failure } from '../support/client.ts'
import { alice, carol, dave, olivia, patience, startWorld, type World } from './world.ts'

const browser = openBrowser()
let world: World
beforeAll(async () => {
  world = await startWorld()
}, 120_000)
afterAll(() => world.close())

let customers = 9800
const nextCustomer = () => `${world.gateUrl}/crm/customers/${++customers}`
const entry = (id: number) => `${world.gateUrl}/ledger/entries/${id}`
const json = { 'content-type': 'application/json' }
const pathOf = (url: string) => new URL(url).pathname

/** Opens what waits for this call, as soon as the list has it. */
async function openRow(page: Page, url: string): Promise<void> {
  const row = page.locator('.list a[data-row]', { hasText: pathOf(url) }).first()
  const folded = page.locator('.list button[aria-expanded="false"]')
  await row.or(folded.first()).first().waitFor(patience)
  if (!(await row.isVisible())) await folded.first().click()
  await row.click(patience)
  await page.locator('.action h1', { hasText: pathOf(url) }).waitFor(patience)
}
const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name })
const dialogGone = (page: Page) => page.getByRole('dialog').waitFor({ state: 'detached', ...patience })
const state = (page: Page) => page.locator('.action .head .chips')

async function refuse(page: Page, reason: string): Promise<void> {
  await button(page, /^Refuse/).click(patience)
  await page.getByLabel('Reason').fill(reason)
  await button(page, 'Refuse it').click(patience)
  await dialogGone(page)
}

async function approve(page: Page): Promise<void> {
  await button(page, /^Approve/).click(patience)
  await page.getByLabel('Reason').fill('the customer has asked for it')
  await button(page, 'Approve it').click(patience)
  await dialogGone(page)
}

describe('a held call', () => {
  test('appears by itself, and finishes when somebody approves it with the keyboard', async () => {
    const page = await world.signIn(browser, carol)
    await page.getByText('Nobody waits for you').waitFor(patience)
    const lease = await world.lease()
    const url = nextCustomer()
    const answer = lease.fetch(url, { method: 'DELETE' })
    await page.locator('.list [data-row]', { hasText: pathOf(url) }).waitFor(patience)
    for (const key of ['j', 'Enter']) await page.keyboard.press(key)
    await button(page, /^Approve/).waitFor(patience)
    await page.keyboard.press('a')
    await page.getByRole('dialog').waitFor(patience)
    await page.keyboard.type('the customer has asked for it')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await dialogGone(page)
    const { status, headers } = await answer
    expect([status, headers.get('preference-applied')]).toEqual([200, 'wait'])
    expect(world.crm.known.has(String(customers))).toBe(false)
    await expect.poll(() => state(page).innerText(), patience).toContain('used')
  })

  test('that is refused ends with the reason in the words of who refused it', async () => {
    const lease = await world.lease()
    const url = nextCustomer()
    const answer = failure(lease.fetch(url, { method: 'DELETE' }))
    const page = await world.signIn(browser, carol)
    await openRow(page, url)
    await refuse(page, 'an invoice is open')
    expect(await answer).toMatchObject({ code: 'approval_refused', reason: 'an invoice is open' })
    expect(world.crm.known.has(String(customers))).toBe(true)
    await expect.poll(() => state(page).innerText(), patience).toContain('refused')
  })

  test('of somebody themselves is not theirs to decide', async () => {
    const lease = await world.lease()
    const url = nextCustomer()
    const answer = failure(
      lease.fetch(url, { method: 'DELETE', approval: { waitSeconds: 0, deadline: new Date() } }),
    )
    const page = await world.signIn(browser, alice)
    await openRow(page, url)
    expect(await page.locator('.decide').innerText()).toBe(
      'You cannot decide this: it is asked for in your own name',
    )
    expect(await answer).toMatchObject({ code: 'approval_required' })
  })

  test('that takes two people goes on after the second; neither sees an old state of it', async () => {
    const lease = await world.lease()
    const answer = lease.fetch(entry(1), { method: 'DELETE' })
    const [first, second] = [await world.signIn(browser, carol), await world.signIn(browser, dave)]
    await openRow(first, entry(1))
    await openRow(second, entry(1))
    await approve(first)
    await second.getByText('1 of 2').waitFor(patience)
    await first.getByText('you have said yes; somebody else has to as well').waitFor(patience)
    await approve(second)
    expect((await answer).status).toBe(200)
    await expect.poll(() => state(first).innerText(), patience).toContain('used')
  })

  test('that one refuses while the other looks can be approved no more', async () => {
    const lease = await world.lease()
    const answer = failure(lease.fetch(entry(2), { method: 'DELETE' }))
    const [first, second] = [await world.signIn(browser, carol), await world.signIn(browser, dave)]
    await openRow(first, entry(2))
    await openRow(second, entry(2))
    await refuse(first, 'not in this quarter')
    await expect.poll(() => state(second).innerText(), patience).toContain('refused')
    expect(await button(second, /^Approve/).count()).toBe(0)
    await second.getByText('not in this quarter').waitFor(patience)
    expect(await answer).toMatchObject({ code: 'approval_refused' })
  })
})

test('a repeat that is granted lets as many through as it says, and none once it is revoked', async () => {
  const lease = await world.lease()
  const url = nextCustomer()
  const first = lease.fetch(url, { method: 'DELETE' })
  const page = await world.signIn(browser, { ...carol, roles: ['operator'] })
  await openRow(page, url)
  await button(page, /^Approve/).click(patience)
  await page.getByLabel('Reason').fill('clean up of one record')
  await page.getByRole('checkbox').check()
  await button(page, 'Approve it').click(patience)
  expect((await first).status).toBe(200)
  const now = { approval: { waitSeconds: 0, deadline: new Date() } }
  for (let more = 0; more < 2; more++) {
    expect((await lease.fetch(url, { method: 'DELETE', ...now })).status).toBe(404)
  }
  await page.locator('.action').getByRole('link', { name: lease.id! }).click(patience)
  await page.getByText('3 of 5 calls left').waitFor(patience)
  await page.locator('li', { hasText: 'calls left' }).getByRole('button', { name: 'Revoke' }).click(patience)
  await page.getByLabel('Reason').fill('done')
  await button(page, 'Do it').click(patience)
  await dialogGone(page)
  await page.locator('li', { hasText: 'calls left' }).getByText('revoked').waitFor(patience)
  expect(await failure(lease.fetch(url, { method: 'DELETE', ...now }))).toMatchObject({
    code: 'approval_required',
  })
})

test('a draft is compared with what is there, released, and its answer fetched by the agent', async () => {
  const lease = await world.lease({ stage: 'draft' })
  const url = nextCustomer()
  const body = '{"email":"maria.l@example.com"}'
  const draft = lease.draftOf(await lease.fetch(url, { method: 'PATCH', headers: json, body }))
  const page = await world.signIn(browser, carol)
  await openRow(page, url)
  await button(page, 'Compare').click(patience)
  await expect
    .poll(() => page.locator('.diff tbody tr').allInnerTexts(), patience)
    .toEqual([expect.stringMatching(/email.*"maria@example.com".*"maria.l@example.com"/s)])
  await button(page, /^Release/).click(patience)
  await button(page, 'Release it').click(patience)
  await dialogGone(page)
  expect(await draft!.wait()).toMatchObject({ outcome: { status: 200 } })
  expect(await (await draft!.response()).json()).toMatchObject({ email: 'maria.l@example.com' })
  await page.getByText(/Executed.*: 200/).waitFor(patience)
})

test('a lease is suspended, resumed and completed from its page, and the next call says so', async () => {
  const lease = await world.lease()
  const url = `${world.gateUrl}/crm/customers/9820`
  expect((await lease.fetch(url)).status).toBe(200)
  const page = await world.signIn(browser, olivia)
  await page.getByRole('link', { name: 'Leases', exact: true }).click()
  await page.locator(`a[href="#/leases/${lease.id}"]`).click(patience)
  const order = async (word: string, becomes: string) => {
    await button(page, word).click(patience)
    await page.getByLabel('Reason').fill('a look at what it does')
    await button(page, 'Do it').click(patience)
    await dialogGone(page)
    await expect.poll(() => state(page).innerText(), patience).toContain(becomes)
  }
  await order('Suspend', 'suspended')
  expect(await failure(lease.fetch(url))).toMatchObject({ reasons: ['lease_inactive', 'lease_suspended'] })
  await order('Resume', 'active')
  expect((await lease.fetch(url)).status).toBe(200)
  await order('Complete', 'completed')
  expect(await failure(lease.fetch(url))).toMatchObject({ status: 401 })
})

test('a lease that is revoked in the page is worth nothing at the next call', async () => {
  const lease = await world.lease()
  const url = `${world.gateUrl}/crm/customers/9820`
  expect((await lease.fetch(url)).status).toBe(200)
  const page = await world.signIn(browser, olivia)
  await page.goto(`${world.brokerUrl}/console#/leases/${lease.id}`)
  await button(page, 'Revoke').click(patience)
  await page.getByLabel('Reason').fill('a key has leaked')
  await button(page, 'Do it').click(patience)
  await dialogGone(page)
  expect(await failure(lease.fetch(url))).toMatchObject({ code: 'lease_revoked', status: 401 })
  await expect.poll(() => state(page).innerText(), patience).toContain('revoked')
})

test('decisions come by themselves, and one opens to its explanation', async () => {
  const page = await world.signIn(browser, olivia)
  await page.getByRole('link', { name: 'Decisions', exact: true }).click()
  const lease = await world.lease()
  const { headers } = await lease.fetch(`${world.gateUrl}/crm/customers/9819`)
  const id = headers.get('decision-id')
  await page.locator(`a[href="#/decisions/${id}"]`).click(patience)
  await page.locator('.action h1', { hasText: '/customers/9819' }).waitFor(patience)
  await button(page, 'Explain').click(patience)
  await page.locator('.action section', { hasText: 'Why' }).getByText('allow').first().waitFor(patience)
})

test('every view fits a dark phone, with what a gate has to say', async () => {
  const lease = await world.lease()
  await lease.fetch(`${world.gateUrl}/crm/customers/9820`)
  const page = await world.signIn(browser, olivia, { viewport: 'phone', scheme: 'dark' })
  const views = {
    inbox: 'What waits',
    decisions: 'Decisions',
    agents: 'Agents',
    health: '1 of 1 gates ready',
  }
  for (const [view, shown] of Object.entries({ ...views, [`leases/${lease.id}`]: 'The six questions' })) {
    await page.goto(`${world.brokerUrl}/console#/${view}`)
    await page.getByLabel(shown).or(page.getByText(shown)).filter({ visible: true }).first().waitFor(patience)
    const [width, ground]: unknown[] = await page.evaluate(
      '[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]',
    )
    expect([view, width, ground]).toEqual([view, 375, 'rgb(18, 22, 20)'])
  }
})

test('a lease that an agent asks for is granted in the page', async () => {
  const form = {
    authorization_details: JSON.stringify([
      { type: 'lease', actions: ['update'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
    ]),
    stage: 'draft',
    completion_mode: 'deferred',
  }
  const asked = await world.post('/token', world.exchangeForm(form, 'trial'))
  expect(asked.body).toMatchObject({ error: 'authorization_pending' })
  const page = await world.signIn(browser, carol)
  await page.locator('.list a[data-row]', { hasText: 'Lease for' }).click(patience)
  await page.locator('.action .body', { hasText: 'crm:customer/9821' }).waitFor(patience)
  await button(page, /^Approve/).click(patience)
  await button(page, 'Approve it').click(patience)
  await dialogGone(page)
  const poll = {
    grant_type: 'urn:ietf:params:oauth:grant-type:deferred',
    deferral_code: String(asked.body.deferral_code),
  }
  const granted = await world.post('/token', grantOf(poll))
  expect([granted.status, granted.body.lease_id]).toEqual([200, expect.stringMatching(/^lse_/)])
})

function grantOf(fields: Record<string, string>): URLSearchParams {
  const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  const proof = { client_assertion_type: type, client_assertion: world.assertion('trial') }
  return new URLSearchParams({ ...fields, ...proof })
}
