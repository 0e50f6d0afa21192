// The console's files over a real socket: the list, nothing but the list, and what browsers are told about them.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { assetEndpoints, pages } from '../../src/http/console/assets.ts'
import { pageHeaders } from '../../src/http/console/security_headers.ts'
import { createControlListener } from '../../src/http/control.ts'
import { ask } from '../support/raw.ts'

const sent = pageHeaders('http://localhost')
const folder = join(import.meta.dirname, '../../src/console')
const server = createControlListener({
  endpoints: assetEndpoints(sent),
  operators: [],
  publicUrl: 'http://localhost',
  onBug: (error) => {
    throw error
  },
})
let port: number

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())

const get = (path: string, headers = '') =>
  ask(port, `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${headers}\r\n`)

test.each([
  ['/console', 'text/html; charset=utf-8', '<!doctype html>'],
  ['/console/main.js', 'text/javascript; charset=utf-8', '// START HERE'],
  ['/console/theme.css', 'text/css; charset=utf-8', '/* One accent'],
  ['/console/icon.svg', 'image/svg+xml', '<svg '],
  ['/console/lib/preact.js', 'text/javascript; charset=utf-8', ''],
  [
    '/console/lib/hooks.js',
    'text/javascript; charset=utf-8',
    'import{options as n}from"/console/lib/preact.js"',
  ],
  ['/console/lib/uplot.css', 'text/css; charset=utf-8', '.uplot'],
])('%s is %s', async (path, type, begins) => {
  const { status, headers, body } = await get(path)
  expect(status).toBe(200)
  expect(headers).toMatchObject({ 'content-type': type, 'cache-control': 'no-cache', ...sent })
  expect(body.toString().startsWith(begins)).toBe(true)
})

test('every file of the folder is in the list, and the other way round', () => {
  // Types alone, and the page, which has an address of its own.
  const others = ['index.html', 'shapes.js', 'tsconfig.json']
  const there = readdirSync(folder).filter((name) => !others.includes(name))
  expect(there.toSorted()).toEqual([...pages].toSorted())
})

test('every module and style that a page names is served, by a path', async () => {
  for (const { path } of assetEndpoints(sent)) {
    const { body } = await get(path)
    const text = body.toString()
    const named = path.endsWith('.js')
      ? text.matchAll(/\bfrom\s*["']([^"'\s]+)["']/g)
      : text.matchAll(/(?:href|src)="(\/[^"]+)"/g)
    for (const [, name = ''] of named) {
      const url = new URL(name, `http://localhost${path}`)
      expect(name).toMatch(/^[./]/)
      expect([url.pathname, (await get(url.pathname)).status]).toEqual([url.pathname, 200])
    }
  }
})

test('an unchanged file is not sent again', async () => {
  const { headers } = await get('/console/main.js')
  for (const known of [headers.etag, `W/${headers.etag}`, `"other", ${headers.etag}`, '*']) {
    const again = await get('/console/main.js', `if-none-match: ${known}\r\n`)
    expect([again.status, again.body.length, again.headers.etag]).toEqual([304, 0, headers.etag])
  }
  expect((await get('/console/main.js', 'if-none-match: "other"\r\n')).status).toBe(200)
})

test.each([
  '/console/',
  '/console/tsconfig.json',
  '/console/../package.json',
  '/console/%2e%2e/package.json',
  '/console/..%2f..%2fpackage.json',
  '/console/lib/../main.js',
  '/console//main.js',
  '/console/main.js/',
  '/console/main.js%00.css',
  '/console/MAIN.js',
  '/console/lib/preact',
  '/console\\main.js',
])('%s is not served', async (path) => {
  const { status, body } = await get(path)
  expect(status).toBeGreaterThanOrEqual(400)
  expect(body.toString()).not.toContain('"name"')
})

test('no page holds an inline script, a handler or a style', () => {
  const html = readFileSync(join(folder, 'index.html'), 'utf8')
  expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style/)
  for (const name of pages.filter((each) => each.endsWith('.js'))) {
    const text = readFileSync(join(folder, name), 'utf8')
    expect(text).not.toMatch(
      /dangerouslySetInnerHTML|innerHTML|\beval\(|new Function|document\.write|javascript:/,
    )
  }
})
