// Who decides, on a whole gate with a real OpenID provider: signing in, showing again who it is, a passkey, a line that
// breaks and a gate that comes back.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGate } from '../../src/compose.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { addPasskeys, openBrowser } from '../support/browser.ts'
import {
  consoleClient,
  startIdentityProvider,
  strongAcr,
  type TestProvider,
} from '../support/identity_provider.ts'
import { freePort } from '../support/ports.ts'
import { patience, startWorld, type World } from './world.ts'

const browser = openBrowser()
let provider: TestProvider
let world: World
let url: string
let stop: () => Promise<void> = async () => {}
beforeAll(async () => {
  provider = await startIdentityProvider()
  const person = { email: 'carol@example.com', email_verified: true, groups: ['crm-owners'] }
  provider.account = { ...person, roles: [] }
  const controlPort = await freePort()
  // A passkey is of a name, not of an address.
  url = `http://localhost:${controlPort}`
  world = await startWorld({
    controlPort,
    config: {
      console: {
        url,
        passkeys: 'high',
        roles: { auditor: ['carol@example.com'] },
        sign_in: {
          issuer: provider.issuer,
          client_id: consoleClient.id,
          client_secret: consoleClient.secret,
          scopes: ['openid', 'email'],
          user: 'email',
          groups: 'groups',
          step_up: { acr: [strongAcr], max_age: '5m' },
        },
      },
    },
  })
  stop = () => world.running.close()
}, 120_000)
afterAll(async () => {
  await stop()
  await world.close()
  provider.close()
})

test('a person signs in at the provider, shows again who they are, and approves with a passkey', async () => {
  const lease = await world.lease()
  const answer = lease.fetch(`${world.gateUrl}/crm/customers/9801`, { method: 'DELETE' })
  const page = await browser.page({ expected: [/401/] })
  await addPasskeys(page)
  await page.goto(`${url}/console`)
  await page.getByRole('button', { name: 'Sign in' }).click(patience)
  await page.locator('.list a[data-row]').first().click(patience)
  await page.getByRole('button', { name: 'Show again who you are' }).waitFor(patience)
  const before = page.url()
  provider.acr = strongAcr
  await page.getByRole('button', { name: 'Show again who you are' }).click(patience)
  await page.getByRole('button', { name: /^Approve/ }).waitFor(patience)
  expect(page.url()).toBe(before)
  await page.getByRole('link', { name: 'You', exact: true }).click()
  await page.getByRole('button', { name: 'Add a passkey' }).click(patience)
  await page.getByRole('button', { name: 'Remove' }).waitFor(patience)
  await page.goBack()
  await page.getByRole('button', { name: /^Approve/ }).click(patience)
  await page.getByLabel('Reason').fill('the customer has asked for it')
  await page.getByRole('button', { name: 'Approve it' }).click(patience)
  expect((await answer).status).toBe(200)
  const record = world.audit().findLast((line) => line.event === 'approval' && line.step === 'approved')
  expect(record).toMatchObject({ decided_by: { user: 'carol@example.com', shown_by: 'passkey' } })
})

test('a gate that goes and comes back is noticed by an open page, which reads everything again', async () => {
  const page = await browser.page({ expected: [/401/, /ERR_/, /503/] })
  await page.goto(`${url}/console`)
  await page.getByRole('button', { name: 'Sign in' }).click(patience)
  await page.getByText('Nobody waits for you').waitFor(patience)
  await stop()
  await page.getByText('No live connection').waitFor(patience)
  const running = await startGate(world.config, createLogger({ level: 'error' }))
  stop = () => running.close()
  const lease = await world.lease()
  const at = new Date()
  const call = { method: 'DELETE', approval: { waitSeconds: 0, deadline: at } }
  await expect(lease.fetch(`${world.gateUrl}/crm/customers/9802`, call)).rejects.toMatchObject({
    code: 'approval_required',
  })
  await page.locator('.list a[data-row]', { hasText: '/customers/9802' }).waitFor(patience)
  expect(await page.getByText('No live connection').count()).toBe(0)
})
