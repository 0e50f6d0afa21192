// START HERE: the console's page. Finds out who is signed in, keeps the one line to the server, and shows the view
// that the address names. Each view has a file of its own: ADD A VIEW to the list below.
import { html, render } from 'htm/preact'
import { useEffect, useErrorBoundary, useState } from 'preact/hooks'
import { Agents } from './agents.js'
import { get, readMe, whenSignedOut } from './api.js'
import { Decisions } from './decisions.js'
import { Health } from './health.js'
import { Inbox } from './inbox.js'
import { Leases } from './leases.js'
import { Live } from './live.js'
import { Person } from './person.js'
import { navigate, useRoute } from './route.js'
import { SignIn, takeReturn } from './sign_in.js'
import { applyTheme } from './theme.js'
import { Words } from './ui.js'

const readers = ['operator', 'auditor', 'admin']
/** `roles`: one of them is needed to see anything there; none: everybody who is signed in. */
const views = [
  { name: 'inbox', title: 'Inbox', view: Inbox, roles: [] },
  { name: 'leases', title: 'Leases', view: Leases, roles: readers },
  { name: 'decisions', title: 'Decisions', view: Decisions, roles: [] },
  { name: 'agents', title: 'Agents', view: Agents, roles: readers },
  { name: 'health', title: 'Health', view: Health, roles: readers },
  { name: 'you', title: 'You', view: Person, roles: [] },
]

/** @param {typeof views[number]} view @param {import('./shapes.js').Me} me */
function isFor({ roles }, me) {
  return roles.length === 0 || roles.some((role) => me.roles.includes(role))
}

applyTheme()
takeReturn()
const root = document.getElementById('root')
if (root !== null) render(html`<${App} />`, root)

function App() {
  const [me, setMe] = useState(/** @type {import('./shapes.js').Me | null | undefined} */ (undefined))
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined))
  const refresh = () =>
    readMe().then(
      (found) => {
        setError(undefined)
        setMe(found ?? null)
      },
      (problem) => setError(problem),
    )
  useEffect(() => {
    whenSignedOut(() => setMe(null))
    refresh()
  }, [])
  if (me === null) return html`<${SignIn} />`
  if (me !== undefined) return html`<${Console} me=${me} refreshMe=${refresh} />`
  if (error === undefined)
    return html`<main class="alone"><p class="nothing">Opening the console …</p></main>`
  return html`<main class="alone">
    <h1>The console cannot be opened</h1>
    <p><${Words} text=${error.message} /></p>
    <button type="button" class="main" onClick=${refresh}>Try again</button>
  </main>`
}

/** @param {{ me: import('./shapes.js').Me, refreshMe: () => void }} props */
function Console({ me, refreshMe }) {
  const [live] = useState(() => new Live())
  const [isUp, setUp] = useState(true)
  const [pending, setPending] = useState(/** @type {number | undefined} */ (undefined))
  const route = useRoute()
  useEffect(() => {
    const count = () =>
      get('/actions?state=pending&limit=200').then(
        ({ actions, next }) => {
          setPending((known) => (next === undefined || known === undefined ? actions.length : known))
        },
        () => {},
      )
    const stop = [
      // Signed out meanwhile looks like a line that is down: asking says which.
      live.on('down', () => {
        setUp(false)
        refreshMe()
      }),
      live.on('up', () => {
        setUp(true)
        count()
      }),
      live.on('actions', (data) => (typeof data?.pending === 'number' ? setPending(data.pending) : count())),
    ]
    live.open()
    count()
    return () => {
      for (const each of stop) each()
      live.close()
    }
  }, [])
  useEffect(() => {
    document.title = `${pending ? `(${pending}) ` : ''}Leasegate`
  }, [pending])
  const here = views.find(({ name }) => name === route.view) ?? views[0]
  if (here === undefined) return null
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
    <header class="top">
      <a class="brand" href="#/inbox"><span class="mark" aria-hidden="true"></span>Leasegate</a>
      <nav aria-label="Views">${views.filter((each) => isFor(each, me)).map((each) => tab(each, here, pending))}</nav>
    </header>
    ${isUp ? null : html`<p class="banner wary line" role="status">No live connection. What you see may be old; trying again.</p>`}
    <main id="main" tabindex="-1" class=${`view ${here.name}`}>
      ${
        isFor(here, me)
          ? html`<${Guarded} key=${here.name}><${here.view} me=${me} live=${live} route=${route} navigate=${navigate} refreshMe=${refreshMe} /><//>`
          : html`<div class="page"><h1>${here.title}</h1><p>This needs the role ${here.roles.join(' or ')}. You are signed in as ${me.roles.join(', ')}.</p></div>`
      }
    </main>`
}

/** A view that breaks says so, and takes the others with it no more. @param {{ children?: unknown }} props */
function Guarded({ children }) {
  const [bug, again] = useErrorBoundary((error) => reportError(error))
  if (bug === undefined) return children
  return html`<div class="page">
    <h1>This view broke</h1>
    <p>Nothing was decided. It is a bug; the browser’s own console says where.</p>
    <p><button type="button" onClick=${again}>Try again</button></p>
  </div>`
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault()
  document.getElementById('main')?.focus()
}

/** @param {typeof views[number]} each @param {typeof views[number]} here @param {number | undefined} pending */
function tab({ name, title }, here, pending) {
  const current = name === here.name ? 'page' : undefined
  return html`<a key=${name} href=${`#/${name}`} aria-current=${current}>
    ${title}${name === 'inbox' && pending ? html`<span class="count">${pending}</span>` : null}
  </a>`
}
