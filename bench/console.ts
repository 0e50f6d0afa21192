// In: how much to measure. Out: how the console feels with 10,000 leases and 100 decisions a second, on a real gate in
// a real Chromium: frames, long tasks, heap and elements of a page, what listening pages cost the gate, and what those
// who look at leases do to decisions. The gate has one core to itself; everything else shares another.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core'
import { chromiumPath, missingChromium } from '../scripts/chromium.ts'
import { fixedRate } from './load.ts'
import { type Percentiles, percentiles, round } from './numbers.ts'
import { pin, type ServerProcess, startServer, twoCores, unpin } from './process.ts'
import { requestText } from './throughput.ts'

export interface ConsoleOptions {
  readonly leases: number
  /** A second. */
  readonly decisions: number
  /** Of looking at one page. */
  readonly seconds: number
}

/** Measures, prints, returns what it has printed. */
export async function measureConsole(options: ConsoleOptions): Promise<object> {
  const cores = twoCores()
  pin(process.pid, cores?.[1])
  const backend = await startServer('backend.ts', [], cores?.[1])
  const gate = await startServer(
    'console_server.ts',
    [String(backend.port), String(options.leases)],
    cores?.[0],
  )
  const browser = await launch()
  try {
    const session = await signIn(gate)
    const page = await openPage(browser, session)
    const result: Record<string, object> = {}
    const say = (name: string, value: object) => {
      result[name] = value
      console.log(`  ${name}: ${JSON.stringify(value)}`)
    }
    say('leases', await looking(page, 'leases', { gate, ...options, decisions: 0 }, scroll))
    say('decisions', await looking(page, 'decisions', { gate, ...options }, async () => {}))
    const word = page.getByRole('searchbox')
    await word.fill('customers')
    say('decisions_filtered', await looking(page, 'decisions', { gate, ...options }, async () => {}))
    await page.context().close()
    for (const pages of [0, 1, 10, 50])
      say(`listening_${pages}`, await listening(gate, session, pages, options))
    for (const look of lookers) say(look.name, await besideLooking(gate, session, look, options))
    return result
  } finally {
    await browser.close()
    await gate.stop()
    await backend.stop()
    unpin()
  }
}

async function launch(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (executablePath === undefined) throw new Error(missingChromium)
  return chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 })
}

interface Session {
  readonly url: string
  readonly cookie: string
}

async function signIn(gate: ServerProcess): Promise<Session> {
  const { port, token } = gate.control!
  const url = `http://127.0.0.1:${port}`
  const made = await fetch(`${url}/console/links`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'kim@example.com', roles: ['admin'] }),
  })
  const { url: link } = (await made.json()) as { url: string }
  const signed = await fetch(`${url}/console/link`, {
    method: 'POST',
    body: new URLSearchParams({ token: new URL(link).searchParams.get('token')! }),
    redirect: 'manual',
  })
  return { url, cookie: signed.headers.getSetCookie()[0]!.split(';', 1)[0]! }
}

async function openPage(browser: Browser, { url, cookie }: Session): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  const [name = '', value = ''] = cookie.split('=', 2)
  await context.addCookies([{ name, value, url }])
  const page = await context.newPage()
  await page.goto(`${url}/console`)
  return page
}

/** How a view feels while `act` goes on and the gate decides. */
async function looking(
  page: Page,
  view: string,
  { gate, decisions, seconds }: ConsoleOptions & { readonly gate: ServerProcess },
  act: (page: Page) => Promise<void>,
): Promise<object> {
  await page.goto(`${new URL(page.url()).origin}/console#/${view}`)
  await sleep(3_000)
  const load = { port: gate.port, request: requestText(gate.token!), connections: 4, seconds }
  const loaded = decisions > 0 ? fixedRate(load, decisions) : sleep(seconds * 1000)
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Performance.enable')
  const before = await busy(cdp)
  const frames = page.evaluate(watchFrames(seconds)) as Promise<object>
  await act(page)
  const felt = await frames
  await loaded
  const after = await busy(cdp)
  const spent = parts.map((part) => {
    const name = `${part}Duration`
    return [`${part.toLowerCase()}_share`, round((after[name]! - before[name]!) / seconds)]
  })
  await cdp.send('HeapProfiler.collectGarbage')
  const { usedSize } = await cdp.send('Runtime.getHeapUsage')
  await cdp.detach()
  const elements = await page.locator('*').count()
  return { ...felt, ...Object.fromEntries(spent), heap_mb: round(usedSize / 1e6), elements }
}

/** Of the page's main thread: how busy it is, and with what. */
const parts = ['Task', 'Script', 'Layout', 'RecalcStyle'] as const

async function busy(cdp: CDPSession): Promise<Record<string, number>> {
  const { metrics } = await cdp.send('Performance.getMetrics')
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]))
}

/** In the page, as text, for it knows what Node does not: frames a second, and tasks of more than 50 ms. */
const watchFrames = (seconds: number) => `new Promise((resolve) => {
  const tasks = []
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) tasks.push(Math.round(duration))
  })
  observer.observe({ entryTypes: ['longtask'] })
  const end = performance.now() + ${seconds * 1000}
  let [frames, last, longest] = [0, performance.now(), 0]
  const frame = (now) => {
    frames++
    longest = Math.max(longest, now - last)
    last = now
    if (now < end) requestAnimationFrame(frame)
    else {
      observer.disconnect()
      resolve({
        frames_per_second: Math.round(frames / ${seconds}),
        longest_pause_ms: Math.round(longest),
        long_tasks: tasks.length,
        longest_task_ms: Math.max(0, ...tasks),
      })
    }
  }
  requestAnimationFrame(frame)
})`

async function scroll(page: Page): Promise<void> {
  await page.locator('.virtual').hover()
  for (let step = 0; step < 100; step++) {
    await page.mouse.wheel(0, 2_000)
    await sleep(30)
  }
}

/** What `pages` that listen to decisions cost the gate. */
async function listening(
  gate: ServerProcess,
  { url, cookie }: Session,
  pages: number,
  { decisions, seconds }: ConsoleOptions,
): Promise<object> {
  const leaving = new AbortController()
  const streams = await Promise.all(
    Array.from({ length: pages }, () =>
      fetch(`${url}/events?decisions=1`, { headers: { cookie }, signal: leaving.signal }),
    ),
  )
  for (const { body } of streams) void body?.pipeTo(new WritableStream()).catch(() => {})
  const load = { port: gate.port, request: requestText(gate.token!), connections: 4, seconds }
  const before = await gate.usage()
  const took = percentiles(await fixedRate(load, decisions))
  const { cpuUs } = await gate.usage()
  leaving.abort()
  return { core_share: round((cpuUs - before.cpuUs) / (seconds * 1e6)), decisions_ms: took }
}

interface Looker {
  readonly name: string
  readonly everyMs: number
  readonly paths: readonly string[]
}

/** What pages of the console ask, and what a program may. */
const lookers: readonly Looker[] = [
  { name: 'nobody_looks', everyMs: 1_000, paths: [] },
  { name: 'leases_once_a_second', everyMs: 1_000, paths: ['/leases?state=active&summary=1&limit=1000'] },
  {
    name: 'search_at_each_key',
    everyMs: 150,
    paths: ['/leases?state=active&text=nowhere&summary=1&limit=100'],
  },
  { name: 'agents', everyMs: 5_500, paths: ['/agents'] },
]

/** How long decisions take while somebody looks. */
async function besideLooking(
  gate: ServerProcess,
  { url, cookie }: Session,
  { everyMs, paths }: Looker,
  { decisions, seconds }: ConsoleOptions,
): Promise<object> {
  const load = { port: gate.port, request: requestText(gate.token!), connections: 16, seconds }
  const took: number[] = []
  let isOver = false
  const looks = (async () => {
    for (let at = 0; !isOver && paths.length > 0; at++) {
      const began = performance.now()
      await (await fetch(`${url}${paths[at % paths.length]}`, { headers: { cookie } })).arrayBuffer()
      took.push(performance.now() - began)
      await sleep(Math.max(0, everyMs - (performance.now() - began)))
    }
  })()
  const before = await gate.usage()
  const decided: Percentiles = percentiles(await fixedRate(load, decisions))
  const { cpuUs } = await gate.usage()
  isOver = true
  await looks
  const core_share = round((cpuUs - before.cpuUs) / (seconds * 1e6))
  const looked = took.length === 0 ? {} : { looks_ms: percentiles(Float64Array.from(took)) }
  return { decisions_ms: decided, core_share, ...looked }
}

if (import.meta.main) {
  await measureConsole({ leases: 10_000, decisions: 100, seconds: 10 })
}
