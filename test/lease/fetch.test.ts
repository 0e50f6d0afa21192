import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fetchChanged } from '../../src/lease/fetch.ts'
import { startHttp, type TestServer } from '../support/backends.ts'

let server: TestServer
const seen: string[] = []
beforeAll(async () => {
  server = await startHttp(async (req, res) => {
    const { pathname } = new URL(req.url!, server.url)
    seen.push(`${pathname} ${req.headers['if-none-match'] ?? '-'}`)
    if (pathname === '/content') {
      const same = req.headers['if-none-match'] === '"1"'
      res.writeHead(same ? 304 : 200, { etag: '"1"' }).end(same ? undefined : 'content')
    } else if (pathname === '/unasked') res.writeHead(304).end()
    else if (pathname === '/moved') res.writeHead(302, { location: '/content' }).end()
    else if (pathname === '/secret') res.writeHead(401).end()
    else if (pathname === '/huge') res.writeHead(200).end(Buffer.alloc(2000))
    else if (pathname === '/cut')
      res.writeHead(200, { 'content-length': 100 }).write('half', () => res.destroy())
    else if (pathname === '/silent') await sleep(60_000, undefined, { ref: false })
    else if (pathname === '/slow') res.writeHead(200).write('a')
  })
})
afterAll(() => server.close())

const bounds = { accept: '*/*', maxBytes: 1000, timeoutMs: 10_000 }
const short = { ...bounds, timeoutMs: 100 }

it('gives the content with its tag, and says when the tag still holds', async () => {
  const first = await fetchChanged(`${server.url}/content`, bounds)
  expect(first).toEqual({ type: 'fresh', bytes: Buffer.from('content'), etag: '"1"' })
  const again = await fetchChanged(`${server.url}/content`, { ...bounds, etag: '"1"' })
  expect(again).toEqual({ type: 'unchanged' })
  expect(await fetchChanged(`${server.url}/content`, { ...bounds, etag: '"0"' })).toEqual(first)
})

const failures: readonly (readonly [name: string, path: string, reason: string])[] = [
  ['an error', '/secret', 'it answered 401'],
  ['a redirect, which is not followed', '/moved', 'it answered 302'],
  ['"not modified" without having been asked', '/unasked', 'it answered 304'],
  ['too much', '/huge', 'it sent more than 1000 bytes'],
  ['half an answer', '/cut', 'no answer (UND_ERR_SOCKET)'],
]
it.each(failures)('fails on %s', async (_, path, reason) => {
  const before = seen.length
  expect(await fetchChanged(server.url + path, bounds)).toEqual({ type: 'failed', reason })
  expect(seen.slice(before)).toEqual([`${path} -`])
})

it.each(['/silent', '/slow'])('fails when the deadline passes: %s', async (path) => {
  expect(await fetchChanged(server.url + path, short)).toEqual({
    type: 'failed',
    reason: 'no answer within 100 ms',
  })
})

it('fails where nobody listens, and says no more than that', async () => {
  const gone = await startHttp(() => {})
  await gone.close()
  expect(await fetchChanged(`${gone.url}/x?token=secret`, bounds)).toEqual({
    type: 'failed',
    reason: 'no answer (ECONNREFUSED)',
  })
})

it('ends with the signal', async () => {
  const answer = fetchChanged(`${server.url}/silent`, { ...bounds, signal: AbortSignal.timeout(50) })
  expect((await answer).type).toBe('failed')
})
