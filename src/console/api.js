// Every call of the console to the API. In: a path, and a body where something is changed. Out: the answer, or a
// `Problem` (RFC 9457). Tells the page when nobody is signed in. Never: a URL with a secret, a retry of a change.

/** An expected no, or that nobody could be reached. */
export class Problem extends Error {
  /** @param {number} status 0: no answer. @param {{ code?: string, detail?: string, title?: string }} body */
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The server answered ${status}.`)
    this.status = status
    this.code = body.code ?? ''
  }
}

let csrf = ''
/** How far this machine's clock is behind the server's, seconds. */
let clockOffset = 0
/** @type {() => void} */
let onSignedOut = () => {}

/** Seconds since 1970, by the server's clock. */
export const serverNow = () => Date.now() / 1000 + clockOffset

/** @param {() => void} callback */
export function whenSignedOut(callback) {
  onSignedOut = callback
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export const get = (path) => ask(path, { method: 'GET' })

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export const post = (path, body) =>
  ask(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'leasegate-csrf': csrf },
    body: JSON.stringify(body),
  })

/** Who is signed in; undefined: nobody. */
export async function readMe() {
  try {
    const me = await get('/me')
    csrf = me.csrf
    return me
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return undefined
    throw error
  }
}

/** @param {string} path @param {RequestInit} init */
async function ask(path, init) {
  const answer = await reach(path, init)
  readClock(answer)
  const body = await answer.json().catch(() => ({}))
  if (answer.ok) return body
  if (answer.status === 401 && path !== '/me') onSignedOut()
  throw new Problem(answer.status, body)
}

/** @param {string} path @param {RequestInit} init */
async function reach(path, init) {
  try {
    return await fetch(path, { ...init, credentials: 'same-origin', redirect: 'error', cache: 'no-store' })
  } catch {
    throw new Problem(0, { detail: 'The server could not be reached; nothing is known to have changed.' })
  }
}

/** Seconds are what the header has: only a clock that is off by more than that is corrected. @param {Response} answer */
function readClock(answer) {
  const at = Date.parse(answer.headers.get('date') ?? '')
  if (Number.isNaN(at)) return
  const off = (at - Date.now()) / 1000
  clockOffset = Math.abs(off) > 2 ? off : 0
}
