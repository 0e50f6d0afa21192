// In: pages to open. Out: a real Chromium for one test file, started when the first page is asked for; each page has
// cookies of its own and is closed after its test. A test fails when a page of its logs an error, throws or runs into
// its content security policy without the test having said so. Never: a browser that outlives its test file.
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, expect } from 'vitest'
import { chromiumPath, missingChromium } from '../../scripts/chromium.ts'

/** Sizes that the console is made for, in CSS pixels. */
export const viewports = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 375, height: 740 },
} as const

/** How a page is opened. */
export interface PageForm {
  readonly viewport?: keyof typeof viewports
  /** `prefers-color-scheme`. Default: light. */
  readonly scheme?: 'light' | 'dark'
  /** Complaints that the test brings about, such as the line that Chromium logs for an answer 403. */
  readonly expected?: readonly RegExp[]
}

/** A browser of the test file's own. */
export interface TestBrowser {
  /** A page with cookies of its own: somebody else, as far as servers can tell. */
  page(form?: PageForm): Promise<Page>
  /** What pages of this test have complained about so far: from then on the test's own to judge, to its end. */
  complaints(): readonly string[]
}

/** Call it where tests are declared, once per file: it sees to its own end. */
export function openBrowser(): TestBrowser {
  let browser: Promise<Browser> | undefined
  const contexts: BrowserContext[] = []
  const complaints: string[] = []
  let judged = false

  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()))
    const left = judged ? [] : [...complaints]
    complaints.length = 0
    judged = false
    expect(left, 'what pages complained about').toEqual([])
  })
  afterAll(async () => (await browser)?.close())

  return {
    async page({ viewport = 'desktop', scheme = 'light', expected = [] } = {}) {
      browser ??= launch()
      const context = await (await browser).newContext({
        viewport: viewports[viewport],
        colorScheme: scheme,
        // A certificate of the test's own; what it proves is tested elsewhere.
        ignoreHTTPSErrors: true,
        reducedMotion: 'reduce',
        locale: 'en-GB',
        timezoneId: 'UTC',
      })
      contexts.push(context)
      await collect(context, (complaint) => {
        if (!expected.some((pattern) => pattern.test(complaint))) complaints.push(complaint)
      })
      return context.newPage()
    },
    complaints() {
      judged = true
      return complaints
    },
  }
}

/** An authenticator inside the browser, instead of a finger on a sensor. */
export interface Passkeys {
  /** How many passkeys it holds. */
  count(): Promise<number>
  /** Whether whoever is asked shows that it is them; true at first. */
  verifies(isVerified: boolean): Promise<void>
}

/** Gives a page an authenticator that holds passkeys; it needs an https origin or localhost. */
export async function addPasskeys(page: Page): Promise<Passkeys> {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  return {
    async count() {
      return (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials.length
    },
    async verifies(isUserVerified) {
      await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified })
    },
  }
}

function launch(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (executablePath === undefined) throw new Error(missingChromium)
  // Chromium refuses to run its sandbox as root, which is what containers of tests run as.
  const chromiumSandbox = process.getuid?.() !== 0
  return chromium.launch({ executablePath, chromiumSandbox, args: ['--disable-dev-shm-usage'] })
}

/** A violation in a frame or of a report-only policy is not always logged as an error. */
const logViolations = `addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) =>
  console.error('content security policy: ' + effectiveDirective + ' ' + blockedURI))`

async function collect(context: BrowserContext, complain: (complaint: string) => void): Promise<void> {
  context.on('console', (message) => {
    if (message.type() === 'error') complain(message.text())
  })
  context.on('weberror', (each) => complain(String(each.error())))
  await context.addInitScript(logViolations)
}
