// The browser that the console's tests rely on: what a page does wrong is seen, and people have passkeys.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addPasskeys, openBrowser } from './browser.ts'

const browser = openBrowser()
let server: Server
let origin: string

beforeAll(async () => {
  server = createServer((request, response) => {
    const found = Buffer.from(new URL(request.url ?? '', 'http://page').searchParams.get('html') ?? '')
    response.writeHead(request.url === '/favicon.ico' ? 204 : 200, {
      'content-type': 'text/html',
      'content-security-policy': "default-src 'none'; script-src 'nonce-1'",
    })
    response.end(request.url === '/favicon.ico' ? undefined : found)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://localhost:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const pageOf = (html: string) => `${origin}/?html=${encodeURIComponent(html)}`

test.each([
  ['logs an error', '<script nonce="1">console.error("it broke")</script>', 'it broke'],
  ['throws', '<script nonce="1">throw new Error("it threw")</script>', 'it threw'],
  ['runs a script inline', '<script>document.title = "run"</script>', 'content security policy: script-src'],
  ['loads from elsewhere', '<img src="http://127.0.0.1:9/x.png">', 'content security policy: img-src'],
])('a page that %s is complained about', async (_, html, complaint) => {
  const page = await browser.page()
  await page.goto(pageOf(html))
  await expect.poll(() => browser.complaints().join('\n'), { timeout: 10_000 }).toContain(complaint)
  expect(await page.title()).not.toBe('run')
})

test('a page that does nothing wrong is not; what a test brings about itself is expected', async () => {
  const page = await browser.page({ expected: [/on purpose/] })
  await page.goto(pageOf('<script nonce="1">console.error("on purpose"); console.log("fine")</script>'))
  await page.evaluate('1')
  expect(browser.complaints()).toEqual([])
})

test('pages are light or dark, wide or as narrow as a phone, and share no cookies', async () => {
  const wide = await browser.page()
  const narrow = await browser.page({ scheme: 'dark', viewport: 'phone' })
  for (const page of [wide, narrow]) await page.goto(pageOf('<script nonce="1">document.cookie</script>'))
  await wide.evaluate('document.cookie = "who=wide"')
  const seen =
    'JSON.stringify([matchMedia("(prefers-color-scheme: dark)").matches, innerWidth, document.cookie])'
  expect(await wide.evaluate(seen)).toBe('[false,1280,"who=wide"]')
  expect(await narrow.evaluate(seen)).toBe('[true,375,""]')
})

test('a page with an authenticator makes a passkey, and only for somebody who shows that it is them', async () => {
  const page = await browser.page()
  await page.goto(pageOf(''))
  const passkeys = await addPasskeys(page)
  const create = `navigator.credentials.create({ publicKey: {
    rp: { name: 'Leasegate' }, user: { id: new Uint8Array(8), name: 'alice', displayName: 'Alice' },
    challenge: new Uint8Array(32), pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
    authenticatorSelection: { userVerification: 'required' } } }).then(({ type }) => type, ({ name }) => name)`
  expect(await page.evaluate(create)).toBe('public-key')
  expect(await passkeys.count()).toBe(1)
  await passkeys.verifies(false)
  expect(await page.evaluate(create)).toBe('NotAllowedError')
  expect(await passkeys.count()).toBe(1)
})
