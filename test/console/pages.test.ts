// The pages in a real Chromium: decisions by keyboard, hostile text inert, long lists small, nothing moves, WCAG in both
// themes. A violation of the content security policy or an error of a script fails whichever test it happens in.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { addPasskeys, openBrowser, type PageForm } from '../support/browser.ts'
import { type FixtureServer, startFixture } from './fixture.ts'
import { hostileText } from './fixture_data.ts'

const browser = openBrowser()
const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')
const patience = { timeout: 15_000 }
let server: FixtureServer

beforeEach(async () => {
  await server?.[Symbol.asyncDispose]()
  server = await startFixture(10_000)
})
afterAll(() => server[Symbol.asyncDispose]())

async function open(hash: string, form: PageForm = {}): Promise<Page> {
  const page = await browser.page(form)
  await page.goto(`${server.url}/console${hash}`)
  await page.waitForSelector('main.view, main.alone', patience)
  return page
}

const rowsOf = (page: Page) => page.locator('.list [data-row] .title').allInnerTexts()
const actionOf = (id: string) => {
  const found = server.data.actions.find((action) => action.id === id)
  if (found === undefined) throw new Error(`no ${id}`)
  return found
}

describe('deciding', () => {
  test('by keyboard alone: down, open, approve, and a second step that names the action', async () => {
    const page = await open('#/inbox')
    await page.waitForSelector('.list [data-row]', patience)
    for (const key of ['j', 'j', 'j', 'Enter']) await page.keyboard.press(key)
    await page.waitForSelector('.decide .main', patience)
    expect(await page.locator('.open h1').innerText()).toBe('PATCH /customers/17')
    await page.keyboard.press('a')
    const dialog = page.getByRole('dialog')
    await dialog.waitFor(patience)
    expect(await dialog.locator('.sentence').innerText()).toContain(
      'support-triage 3.2.1, for alice@example.com, may update crm:customer/17: PATCH /customers/17, once, now, byte for byte',
    )
    expect(server.posted).toEqual([])
    await page.keyboard.press('Enter')
    await dialog.waitFor({ state: 'detached', ...patience })
    expect(server.posted).toEqual([
      { path: '/actions/act_draft/approve', body: { fingerprint: 'fp_act_draft' }, csrf: 'csrf-of-olivia' },
    ])
    await expect.poll(() => page.locator('.open .head .chips').innerText(), patience).toContain('approved')
  })

  test.each(['Enter', 'a', 'Space', 'y', 'r', 'Escape', 'Backspace'])(
    'one stray %s decides nothing',
    async (key) => {
      const page = await open('#/inbox/act_draft')
      await page.waitForSelector('.decide .main', patience)
      await page.keyboard.press(key)
      await page.keyboard.press('Escape')
      expect(server.posted).toEqual([])
    },
  )

  test('refusing asks for the reason, and sends it', async () => {
    const page = await open('#/inbox/act_delete')
    await page.waitForSelector('.decide .main', patience)
    await page.keyboard.press('r')
    await page.getByRole('dialog').waitFor(patience)
    await page.getByRole('button', { name: 'Refuse it' }).click()
    expect(server.posted).toEqual([])
    await page.getByLabel('Reason').fill('the ticket is closed')
    await page.getByRole('button', { name: 'Refuse it' }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached', ...patience })
    expect(server.posted[0]?.body).toEqual({ fingerprint: 'fp_act_delete', reason: 'the ticket is closed' })
  })

  test('a repeat stays within what policy allows', async () => {
    const page = await open('#/inbox/act_draft')
    await page.waitForSelector('.decide .main', patience)
    await page.keyboard.press('a')
    await page.getByRole('checkbox').check()
    await page.getByLabel('Calls').fill('9999')
    await page.getByLabel('Minutes').fill('2')
    await page.getByRole('button', { name: 'Release it' }).click()
    await page
      .getByRole('dialog')
      .waitFor({ state: 'detached', ...patience })
      .catch(() => page.getByRole('button', { name: 'Release it' }).click())
    expect(server.posted.every(({ body }) => Number((body.repeat as { calls: number }).calls) <= 10)).toBe(
      true,
    )
  })

  test('whoever may not decide is told why and gets no button', async () => {
    const page = await open('#/inbox/act_own')
    await page.waitForSelector('.why', patience)
    expect(await page.locator('.decide').innerText()).toBe(
      'You cannot decide this: you are the user that the lease acts for',
    )
    await page.keyboard.press('a')
    expect(await page.getByRole('dialog').count()).toBe(0)
  })

  test('what is replaced while it is open says so loudly and cannot be approved until it is read', async () => {
    const page = await open('#/inbox/act_draft')
    await page.waitForSelector('.decide .main', patience)
    Object.assign(actionOf('act_draft'), { fingerprint: 'fp_other' })
    actionOf('act_draft').call.target = '/customers/666'
    server.tell('actions', { pending: 18, ids: ['act_draft'] })
    await page.waitForSelector('.loud', patience)
    expect(await page.locator('.request').innerText()).toContain('/customers/17')
    expect(await page.locator('.decide .main').isDisabled()).toBe(true)
    await page.keyboard.press('a')
    expect(await page.getByRole('dialog').count()).toBe(0)
    await page.getByRole('button', { name: 'Show the new one' }).click()
    expect(await page.locator('.request').innerText()).toContain('/customers/666')
    expect(await page.locator('.decide .main').isEnabled()).toBe(true)
  })

  test('what is replaced behind the page is refused by the server, and the page says why', async () => {
    const page = await open('#/inbox/act_draft', { expected: [/409/] })
    await page.waitForSelector('.decide .main', patience)
    Object.assign(actionOf('act_draft'), { fingerprint: 'fp_other' })
    await page.keyboard.press('a')
    await page.getByRole('button', { name: 'Release it' }).click()
    await expect
      .poll(() => page.getByRole('dialog').getByRole('alert').innerText(), patience)
      .toBe('the action has been replaced')
    expect(actionOf('act_draft').state).toBe('pending')
  })

  test('what nobody can read any more, nobody can approve', async () => {
    Object.assign(actionOf('act_draft'), { call: null })
    const page = await open('#/inbox/act_draft')
    await page.waitForSelector('.action .banner.bad', patience)
    expect(await page.locator('.decide .main').isDisabled()).toBe(true)
    await page.keyboard.press('a')
    expect(await page.getByRole('dialog').count()).toBe(0)
  })

  test('a yes can be withdrawn until it is used', async () => {
    const yes = [{ user: 'olivia@example.com', at: Date.now() / 1000 - 9, reason: '', shown_by: 'session' }]
    Object.assign(actionOf('act_draft'), { state: 'approved', yes })
    const page = await open('#/inbox/act_draft')
    await page.getByRole('button', { name: 'Withdraw the yes' }).click()
    await page.getByRole('button', { name: 'Withdraw it' }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached', ...patience })
    expect(server.posted.map(({ path, body }) => [path, body])).toEqual([
      ['/actions/act_draft/withdraw', { fingerprint: 'fp_act_draft' }],
    ])
  })

  test('a lease that an agent asks for is shown as it is asked for, whatever is not known of it yet', async () => {
    const none = {
      operation: null,
      verb: null,
      resource: null,
      sensitivity: null,
      risk: null,
      method: null,
      path: null,
    }
    const agent = { id: 'support-triage', version: null, env: null, profile: null }
    const lease = {
      id: null,
      issuer: null,
      user: 'alice@example.com',
      agent,
      task: null,
      session: null,
      stage: 'execute',
    }
    const what = { ...none, backend: 'crm', content_type: null, body_bytes: null, body_digest: null }
    const request = { stage: 'execute' }
    Object.assign(actionOf('act_binary'), {
      kind: 'lease',
      decision_id: null,
      what,
      lease,
      call: null,
      request,
    })
    const page = await open('#/inbox/act_binary')
    await page.waitForSelector('.decide .main', patience)
    expect(await page.locator('.open h1').innerText()).toBe('A lease for support-triage')
    expect(await page.locator('.bytes').innerText()).toContain('"stage": "execute"')
    expect(await page.locator('.open').innerText()).not.toMatch(/null|undefined/)
  })

  test('over time, nothing can be approved any more', async () => {
    Object.assign(actionOf('act_draft'), { expires_at: Date.now() / 1000 - 5 })
    const page = await open('#/inbox/act_draft')
    await page.waitForSelector('.why', patience)
    expect(await page.locator('.decide button').count()).toBe(0)
  })
})

describe('the text of a hostile agent', () => {
  test('is inert: nothing runs, nothing is markup, every trick is a mark', async () => {
    const page = await open('#/inbox/act_hostile')
    await page.waitForSelector('.claim', patience)
    await page.waitForSelector('.bytes', patience)
    expect(await page.title()).not.toContain('owned')
    expect(await page.locator('main img, main script, main iframe').count()).toBe(0)
    const shown = await page.locator('main').evaluate((main) => main.textContent ?? '')
    expect(shown).not.toMatch(/[\p{Bidi_Control}\u200b\u2028\u0007]/u)
    const claim = await page.locator('.claim blockquote mark').allInnerTexts()
    expect(claim).toEqual(
      expect.arrayContaining(['\\n', 'U+202E', 'U+2028', 'U+200B', 'U+2066', 'U+0007', '\u0430 U+0430']),
    )
    expect(await page.locator('.claim figcaption').innerText()).toContain('own words')
    expect(await page.locator('.body .banner').allInnerTexts()).toEqual([
      expect.stringContaining('hide'),
      expect.stringContaining('Names that stand twice: amount'),
    ])
  })

  test('is inert in lists and on a lease', async () => {
    const page = await open('#/leases/lse_01K900000001')
    await page.waitForSelector('.facts', patience)
    const shown = await page.locator('main').evaluate((main) => main.textContent ?? '')
    expect(shown).toContain('<script>')
    expect(shown).not.toContain(hostileText)
    expect(await page.locator('main script').count()).toBe(0)
  })
})

describe('a decision', () => {
  test('is explained in words: what did not hold and on what, and what would be a yes', async () => {
    const page = await open('#/decisions/dec_3')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.waitForSelector('.explained', patience)
    const said = await page.locator('.explained').innerText()
    expect(said).toContain('Policy says deny: the customer is not the one of the task.')
    expect(said).toContain('The stage lets writes through')
    expect(said).toContain('input.lease.stage is "observe"')
    expect(said).not.toContain('input.request.verb')
    expect(said).toContain('lease: stage "execute" instead of "observeU+202E"')
  })
})

describe('the exact bytes', () => {
  test('that are no text are hex', async () => {
    const page = await open('#/inbox/act_binary')
    await expect
      .poll(() => page.locator('.bytes').innerText(), patience)
      .toContain('00000000  00 ff fe 48 69 0a 80 c8')
  })

  test('of a long body are folded, with its size, and can all be seen', async () => {
    const page = await open('#/inbox/act_big')
    await expect.poll(() => page.locator('.fold').innerText(), patience).toContain('4,096 of 216,000')
    for (let more = 0; more < 4; more++) await page.getByRole('button', { name: 'Show more' }).click()
    expect(await page.locator('.fold').count()).toBe(0)
    expect((await page.locator('.bytes').innerText()).split('line of an import').length - 1).toBe(12_000)
  })

  test('of a draft are compared with what is there', async () => {
    const page = await open('#/inbox/act_draft')
    await page.getByRole('button', { name: 'Compare' }).click()
    await page.waitForSelector('.diff', patience)
    const lines = await page.locator('.diff tbody tr').allInnerTexts()
    expect(lines.map((line) => line.split(/\s+/).slice(0, 2).join(' '))).toEqual([
      'email changed',
      'limits.credit changed',
      'notes removed',
      'tags[1] added',
    ])
  })
})

describe('a list that is looked at', () => {
  test('does not move while one is open; new ones wait to be shown', async () => {
    const page = await open('#/inbox/act_draft')
    await page.waitForSelector('.decide .main', patience)
    const before = await rowsOf(page)
    const [first] = server.data.actions
    const fresh = {
      ...structuredClone(first),
      id: 'act_new',
      group: 'act_new',
      expires_at: Date.now() / 1000 + 5,
    }
    server.data.actions.unshift({ ...actionOf('act_delete'), ...fresh })
    server.tell('actions', { pending: 19, ids: ['act_new'] })
    await page.getByRole('button', { name: 'Show 1 new' }).waitFor(patience)
    expect(await rowsOf(page)).toEqual(before)
    await page.getByRole('button', { name: 'Show 1 new' }).click()
    await expect.poll(() => rowsOf(page).then((rows) => rows.length), patience).toBe(before.length + 1)
  })

  test('keeps the focus when it is read again', async () => {
    const page = await open('#/inbox')
    await page.waitForSelector('.list [data-row]', patience)
    for (const key of ['j', 'j']) await page.keyboard.press(key)
    const focused = () => page.evaluate<string>('document.activeElement.getAttribute("href")')
    const before = await focused()
    const read = page.waitForResponse(/\/actions\?/)
    server.tell('actions', { pending: 18, ids: [] })
    await read
    expect(before).toContain('#/inbox/act_')
    expect(await focused()).toBe(before)
  })

  test('of ten thousand leases has few elements, at its top, in the middle and at its end', async () => {
    const page = await open('#/leases')
    await expect.poll(() => page.locator('.total').innerText(), patience).toBe('10,000')
    for (const place of [0, 0.5, 1]) {
      await page
        .locator('.virtual')
        .evaluate((list, share) => list.scrollTo(0, list.scrollHeight * share), place)
      await page.waitForFunction('document.querySelectorAll(".virtual .row").length > 5')
      expect(await page.locator('.virtual *').count()).toBeLessThan(1_000)
    }
    await expect.poll(() => page.locator('.virtual .row').last().innerText(), patience).toContain('SUP-13999')
    await page.getByLabel('Search leases').fill('sup-4711 billing')
    await expect.poll(() => page.locator('.total').innerText(), patience).toMatch(/^\d$/)
  })

  test('of decisions takes hundreds at once, pauses and goes on', async () => {
    const page = await open('#/decisions')
    await expect.poll(() => page.locator('.total').innerText(), patience).toBe('120')
    for (let at = 0; at < 500; at++) server.tell('decision', server.data.decision(10_000 + at))
    await expect.poll(() => page.locator('.total').innerText(), patience).toBe('620')
    expect(await page.locator('.virtual .row').count()).toBeLessThan(60)
    await page.getByRole('button', { name: 'Pause' }).click()
    for (let at = 0; at < 10; at++) server.tell('decision', server.data.decision(20_000 + at))
    await page.waitForFunction('new Promise((done) => setTimeout(() => done(true), 1500))')
    expect(await page.locator('.total').innerText()).toBe('620')
    await page.getByRole('button', { name: 'Go on' }).click()
    await expect.poll(() => page.locator('.total').innerText(), patience).toBe('630')
    expect(await page.locator('.chart canvas').count()).toBe(1)
  })
})

test('a line that is down says so, comes back by itself, and everything is read again', async () => {
  const page = await open('#/inbox', { expected: [/ERR_|Failed to load/] })
  await page.waitForSelector('.list [data-row]', patience)
  server.cut()
  await page.waitForSelector('.banner.line', patience)
  const read = page.waitForResponse(/\/actions\?/)
  await page.waitForSelector('.banner.line', { state: 'detached', ...patience })
  expect((await read).status()).toBe(200)
})

test('nobody signed in: a page with the way in, and nothing else', async () => {
  server.data.me = undefined
  const page = await open('#/inbox', { expected: [/401/] })
  expect(await page.locator('main').innerText()).toContain('leasegate console')
  expect(await page.locator('nav').count()).toBe(0)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(/\/console\/sign-in\?to=%2Fconsole$/, patience)
  expect(browser.complaints().filter((complaint) => !/404/.test(complaint))).toEqual([])
})

describe.each(['light', 'dark'] as const)('in %s', (scheme) => {
  test.each([
    '#/inbox',
    '#/inbox/act_hostile',
    '#/inbox/act_delete',
    '#/leases',
    '#/leases/lse_01K900000001',
    '#/decisions',
    '#/decisions/dec_3',
    '#/agents',
    '#/health',
    '#/you',
  ])('%s passes axe (WCAG 2.2 AA)', async (hash) => {
    const page = await open(hash, { scheme })
    await page.waitForSelector('.row:visible, .facts:visible', patience)
    await page.waitForLoadState('networkidle')
    await page.evaluate(axe)
    const report = await page.evaluate<{
      violations: { id: string; impact: string; nodes: { html: string }[] }[]
    }>('axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"] })')
    const serious = report.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    expect(serious.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual([])
  })
})

test('a passkey is made, and shows who approves this very action', async () => {
  Object.assign(actionOf('act_draft'), {
    you: { may: true, reason_required: false, step_up: false, passkey: true },
  })
  const page = await open('#/you')
  const keys = await addPasskeys(page)
  await page.getByRole('button', { name: 'Add a passkey' }).click()
  await expect.poll(() => keys.count(), patience).toBe(1)
  await page.evaluate('location.hash = "#/inbox/act_draft"')
  await page.waitForSelector('.decide .main', patience)
  await page.keyboard.press('a')
  await page.getByRole('button', { name: 'Release it' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached', ...patience })
  const [, made, asked, approved] = server.posted
  expect(made?.body).toMatchObject({ type: 'public-key' })
  expect(asked).toMatchObject({ path: '/actions/act_draft/challenge', body: { fingerprint: 'fp_act_draft' } })
  expect(approved?.body.assertion).toMatchObject({
    type: 'public-key',
    response: { signature: expect.any(String) },
  })
})

test('without the finger on the sensor nothing is approved', async () => {
  Object.assign(actionOf('act_draft'), {
    you: { may: true, reason_required: false, step_up: false, passkey: true },
  })
  const page = await open('#/inbox/act_draft')
  await (await addPasskeys(page)).verifies(false)
  await page.waitForSelector('.decide .main', patience)
  await page.keyboard.press('a')
  await page.getByRole('button', { name: 'Release it' }).click()
  await page.getByRole('dialog').getByRole('alert').waitFor(patience)
  expect(server.posted.map(({ path }) => path)).toEqual(['/actions/act_draft/challenge'])
})

test('what has been long enough ago asks to show again who it is, and comes back to the same action', async () => {
  Object.assign(actionOf('act_draft'), {
    you: { may: true, reason_required: false, step_up: true, passkey: false },
  })
  const page = await open('#/inbox/act_draft', { expected: [/404/] })
  await page.getByRole('button', { name: 'Show again who you are' }).click()
  await page.waitForURL(/sign-in\?to=%2Fconsole&step_up=1$/, patience)
  await page.goto(`${server.url}/console`)
  await page.waitForURL(/#\/inbox\/act_draft$/, patience)
})

test('light or dark is a choice that is kept', async () => {
  const page = await open('#/you', { scheme: 'light' })
  const ground = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
  const light = await ground()
  await page.getByRole('radio', { name: 'dark' }).check()
  const dark = await ground()
  expect(dark).not.toBe(light)
  await page.reload()
  await page.waitForSelector('main.view', patience)
  expect(await ground()).toBe(dark)
})

test('the dialog passes axe too, and gives the focus back', async () => {
  const page = await open('#/inbox/act_delete')
  await page.waitForSelector('.decide .main', patience)
  await page.locator('.decide .main').focus()
  await page.keyboard.press('a')
  await page.getByRole('dialog').waitFor(patience)
  await page.evaluate(axe)
  const report = await page.evaluate<{ violations: { id: string }[] }>('axe.run(document)')
  expect(report.violations.map(({ id }) => id)).toEqual([])
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached', ...patience })
  expect(await page.evaluate('document.activeElement.textContent')).toContain('Approve')
})

test.each(['#/inbox', '#/inbox/act_hostile', '#/leases', '#/decisions', '#/agents', '#/health', '#/you'])(
  '%s fits 375 pixels: nothing to the right of it',
  async (hash) => {
    const page = await open(hash, { viewport: 'phone' })
    await page.waitForSelector('.row:visible, .facts:visible', patience)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375)
    const wide = await page.evaluate<number>(
      'Math.max(...[...document.querySelectorAll("main, main > *, .panes > *")].map((each) => each.scrollWidth))',
    )
    expect(wide).toBeLessThanOrEqual(375)
  },
)
