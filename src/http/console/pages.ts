// The few pages that stand outside the console: a link to sign in with, and why a sign-in failed. In: text. Out: an
// answer of static HTML that needs no script. Never: markup that was not written here.
import type { ControlAnswer } from '../control.ts'
import { pageHeaders } from './security_headers.ts'

export interface Page {
  readonly status: number
  readonly title: string
  /** A paragraph each. */
  readonly text: readonly string[]
  /** A command to run, shown as one. */
  readonly command?: string
  /** What can be done next: a link, or a form with one hidden value and one button. */
  readonly next?: { readonly label: string; readonly href: string; readonly token?: string }
}

/** Of the console, which anybody may read. */
const styles = ['theme.css', 'frame.css', 'controls.css', 'small.css']

/** The answer for a page of the console at `url`. */
export function pageAnswer({ status, title, text, command, next }: Page, url: string): ControlAnswer {
  const body = [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    '<meta name="color-scheme" content="light dark">',
    '<link rel="icon" href="/console/icon.svg" type="image/svg+xml">',
    ...styles.map((name) => `<link rel="stylesheet" href="/console/${name}">`),
    `<title>${inert(title)} · Leasegate</title></head>`,
    `<body><main class="alone"><p class="brand"><span class="mark"></span>Leasegate</p><h1>${inert(title)}</h1>`,
    ...text.map((each) => `<p>${inert(each)}</p>`),
    ...(command === undefined ? [] : [`<pre class="command">${inert(command)}</pre>`]),
    ...(next === undefined ? [] : [nextOf(next)]),
    '</main></body></html>\n',
  ].join('\n')
  return { status, body, headers: { 'content-type': 'text/html; charset=utf-8', ...pageHeaders(url) } }
}

function nextOf({ label, href, token }: NonNullable<Page['next']>): string {
  if (token === undefined) return `<p><a href="${inert(href)}">${inert(label)}</a></p>`
  return [
    `<form method="post" action="${inert(href)}">`,
    `<input type="hidden" name="token" value="${inert(token)}">`,
    `<button class="main">${inert(label)}</button></form>`,
  ].join('')
}

function inert(text: string): string {
  const names: Readonly<Record<string, string>> = {
    '&': 'amp',
    '<': 'lt',
    '>': 'gt',
    '"': 'quot',
    "'": '#39',
  }
  return text.replace(/[&<>"']/g, (character) => `&${names[character]};`)
}
