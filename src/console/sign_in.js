// Nobody is signed in, or somebody has to show again who they are. In: nothing. Out: the way to the provider, and
// the command for where there is none. Keeps the place to come back to in this tab alone.
import { html } from 'htm/preact'

const key = 'leasegate-return'

/** Goes to the identity provider, and back to this very view. @param {{ stepUp: boolean }} options */
export function goSignIn({ stepUp }) {
  sessionStorage.setItem(key, location.hash)
  location.assign(`/console/sign-in?to=%2Fconsole${stepUp ? '&step_up=1' : ''}`)
}

/** Back from signing in: the view that was left. */
export function takeReturn() {
  const hash = sessionStorage.getItem(key)
  sessionStorage.removeItem(key)
  if (hash?.startsWith('#/') === true && location.hash === '') history.replaceState(null, '', hash)
}

/** The page for those who are not signed in. */
export function SignIn() {
  return html`<main class="alone">
    <p class="brand"><span class="mark" aria-hidden="true"></span>Leasegate</p>
    <h1>Sign in to decide</h1>
    <p>Agents wait here for a person. What they ask for is shown to people who are signed in.</p>
    <button type="button" class="main" onClick=${() => goSignIn({ stepUp: false })}>Sign in</button>
    <p>No identity provider yet? On the machine of the gate, this prints a link that signs in once:</p>
    <pre class="command"><code>leasegate console</code></pre>
  </main>`
}
