// The SREs' listener over a real socket.
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createHealthListener, type Readiness } from '../../src/http/health.ts'

let checks: Readiness[]
let scrape: () => Promise<{ contentType: string; body: string }>
const server = createHealthListener({
  metrics: () => scrape(),
  readiness: () => checks,
})
let origin: string
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(() => {
  scrape = async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' })
  checks = [
    { name: 'revocations', ready: true, detail: 'view is 3 ms old' },
    { name: 'audit', ready: true, detail: 'records are written' },
  ]
})
afterAll(() => server.close())

test('/healthz says that the process serves, whatever is not ready', async () => {
  checks = [{ name: 'audit', ready: false, detail: 'EFBIG' }]
  const response = await fetch(`${origin}/healthz`)
  expect([response.status, await response.text()]).toEqual([200, 'ok\n'])
})

test('/readyz is 200 while everything holds', async () => {
  const response = await fetch(`${origin}/readyz`)
  expect(response.status).toBe(200)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(await response.json()).toEqual({ ready: true, checks })
})

test('/readyz is 503 as soon as one thing does not hold, and says which and why', async () => {
  checks[0] = { name: 'revocations', ready: false, detail: 'view is 9000 ms old, bound 2000 ms' }
  const response = await fetch(`${origin}/readyz`)
  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({ ready: false, checks })
})

test('/metrics is what the metrics render, with a query or without', async () => {
  for (const path of ['/metrics', '/metrics?name[]=up']) {
    const response = await fetch(`${origin}${path}`)
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'text/plain; version=0.0.4',
      'up 1\n',
    ])
  }
})

test('a scrape that fails is 500 without a reason, and the listener goes on', async () => {
  scrape = async () => {
    throw new Error('hunter2')
  }
  const response = await fetch(`${origin}/metrics`)
  expect([response.status, await response.text()]).toEqual([500, 'failed\n'])
  expect((await fetch(`${origin}/healthz`)).status).toBe(200)
})

test('so is a readiness check that throws', async () => {
  Object.defineProperty(checks, 'every', {
    value() {
      throw new Error('hunter2')
    },
  })
  const response = await fetch(`${origin}/readyz`)
  expect([response.status, await response.text()]).toEqual([500, 'failed\n'])
})

test.each([
  ['POST', '/healthz', 405],
  ['DELETE', '/metrics', 405],
  ['GET', '/', 404],
  ['GET', '/metrics/', 404],
  ['GET', '/readyz/x', 404],
])('%s %s → %i', async (method, path, status) => {
  const response = await fetch(`${origin}${path}`, { method })
  expect(response.status).toBe(status)
  expect(response.headers.get('allow')).toBe(status === 405 ? 'GET, HEAD' : null)
})

test('HEAD is answered like GET, without a body', async () => {
  const response = await fetch(`${origin}/readyz`, { method: 'HEAD' })
  expect([response.status, await response.text()]).toEqual([200, ''])
})
