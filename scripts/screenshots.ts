// Pictures of the console for docs/console: every view in light, dark and at the width of a phone. In: a scene on a
// whole gate (screenshot_scene.ts). Out: PNG files. `node scripts/screenshots.ts [VIEW]` draws all of them, or one view.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium, type Page } from 'playwright-core'
import { packageRoot } from '../src/version.ts'
import { chromiumPath, missingChromium } from './chromium.ts'
import { type Scene, startScene, viewer } from './screenshot_scene.ts'

const directory = join(packageRoot, 'docs/console')
const forms = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
  phone: { viewport: { width: 375, height: 812 }, colorScheme: 'light' },
} as const
/** The charts need some seconds to have something to show. */
const watchedSeconds = 30

interface View {
  readonly name: string
  readonly hash: (scene: Scene) => string
  /** On a phone, in place of `hash`: there a list and what is open in it are two pages. */
  readonly phone?: string
  /** What is pressed, and what it makes that is to be seen. */
  readonly press?: { readonly button: string; readonly shows: string }
}

const views: readonly View[] = [
  { name: 'inbox', hash: ({ held }) => `#/inbox/${held}`, phone: '#/inbox' },
  { name: 'draft', hash: ({ draft }) => `#/inbox/${draft}`, press: { button: 'Compare', shows: '.diff' } },
  { name: 'leases', hash: ({ lease }) => `#/leases/${lease}` },
  { name: 'decisions', hash: () => '#/decisions' },
  { name: 'agents', hash: () => '#/agents' },
  { name: 'health', hash: () => '#/health' },
]

type Form = keyof typeof forms

async function openPage(browser: Browser, scene: Scene, view: View, form: Form): Promise<Page> {
  const context = await browser.newContext({
    ...forms[form],
    reducedMotion: 'reduce',
    locale: 'en-GB',
    timezoneId: 'UTC',
  })
  const page = await scene.world.signIn({ page: () => context.newPage() }, viewer)
  await page.goto(
    `${scene.world.brokerUrl}/console${form === 'phone' ? (view.phone ?? view.hash(scene)) : view.hash(scene)}`,
  )
  if (view.press !== undefined) {
    await page.getByRole('button', { name: view.press.button }).click()
    await page.locator(view.press.shows).waitFor()
    await page.locator('.history').scrollIntoViewIfNeeded()
  }
  return page
}

async function main([only]: readonly string[]): Promise<void> {
  const executablePath = chromiumPath()
  if (executablePath === undefined) throw new Error(missingChromium)
  mkdirSync(directory, { recursive: true })
  const scene = await startScene()
  const chromiumSandbox = process.getuid?.() !== 0
  const browser = await chromium.launch({
    executablePath,
    chromiumSandbox,
    args: ['--disable-dev-shm-usage'],
  })
  try {
    const pages: { readonly page: Page; readonly name: string }[] = []
    for (const view of views.filter(({ name }) => only === undefined || only === name)) {
      for (const form of Object.keys(forms) as Form[]) {
        pages.push({ page: await openPage(browser, scene, view, form), name: `${view.name}-${form}` })
      }
    }
    const second = () => Promise.all([scene.traffic(), sleep(1_000)])
    for (let seconds = 0; seconds < watchedSeconds; seconds++) await second()
    for (const { page, name } of pages) {
      await second()
      const path = join(directory, `${name}.png`)
      await page.bringToFront()
      await page.screenshot({ path })
      // Smaller where the machine has it; the picture is the same to the eye.
      spawnSync('pngquant', ['--force', '--skip-if-larger', '--strip', '--output', path, '256', path])
      console.log(path)
    }
  } finally {
    await browser.close()
    await scene.close()
  }
}

await main(process.argv.slice(2))
