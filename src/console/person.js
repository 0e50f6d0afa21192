// Whoever is signed in: what they may do, their passkeys, light or dark, and the way out. In: /me. Out: the page.
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { get, post } from './api.js'
import { newPasskey } from './passkey.js'
import { setTheme, theme, themes } from './theme.js'
import { Countdown, Facts, Failed, useNow, useRead, When, Words } from './ui.js'

/** @param {{ me: import('./shapes.js').Me & { signed_in_at?: number }, refreshMe: () => void }} props */
export function Person({ me, refreshMe }) {
  const now = useNow()
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined))
  const signOut = () => post('/sign-out', {}).then(() => location.reload(), setError)
  return html`<div class="page">
    <h1><${Words} text=${me.user} names /></h1>
    <${Failed} error=${error} />
    <${Facts} rows=${[
      ['Roles', html`<${Words} text=${me.roles.join(', ')} />`],
      ['Groups', html`<${Words} text=${me.groups.join(', ')} names />`],
      ['Signed in', html`<${When} at=${me.signed_in_at} />, by ${signInWords[me.sign_in]}`],
      [
        'Until',
        html`<${Countdown} from=${me.signed_in_at ?? now} to=${me.expires_at} label="session time left" />`,
      ],
    ]} />
    <${ThemeChoice} />
    <${Passkeys} me=${me} refreshMe=${refreshMe} />
    <p><button type="button" onClick=${signOut}>Sign out</button></p>
  </div>`
}

const signInWords = { oidc: 'the identity provider', link: 'a one-time link', token: 'a token' }

function ThemeChoice() {
  const [chosen, setChosen] = useState(theme)
  return html`<fieldset class="choice"><legend>Light or dark</legend>
    ${themes.map(
      (each) =>
        html`<label key=${each}><input type="radio" name="theme" checked=${each === chosen} onChange=${() => {
          setTheme(each)
          setChosen(each)
        }} /> ${each === 'auto' ? 'as this machine' : each}</label>`,
    )}
  </fieldset>`
}

/** @param {{ me: import('./shapes.js').Me, refreshMe: () => void }} props */
function Passkeys({ me, refreshMe }) {
  const { data, error, again } = useRead(() => get('/passkeys'), 'passkeys')
  const [problem, setProblem] = useState(/** @type {Error | undefined} */ (undefined))
  const change = async (/** @type {() => Promise<unknown>} */ step) => {
    setProblem(undefined)
    try {
      await step()
      refreshMe()
      await again()
    } catch (thrown) {
      setProblem(/** @type {Error} */ (thrown))
    }
  }
  const register = () =>
    change(async () => post('/passkeys', await newPasskey(await post('/passkeys/options', {}))))
  return html`<section><h2>Passkeys</h2>
    <p>${passkeyWords[me.passkeys]}</p>
    <ul class="plain">${(data?.passkeys ?? []).map(
      (
        /** @type {any} */ each,
      ) => html`<li key=${each.id}><${Words} text=${each.name ?? each.id} names /> <${When} at=${each.created_at ?? each.at} />
      <button type="button" onClick=${() => change(() => post(`/passkeys/${encodeURIComponent(each.id)}/remove`, {}))}>Remove</button></li>`,
    )}</ul>
    <${Failed} error=${problem ?? error} />
    <button type="button" onClick=${register}>Add a passkey</button>
  </section>`
}

const passkeyWords = {
  never: 'Not asked for here; you may add one all the same.',
  high: 'Each approval of high risk asks for yours.',
  always: 'Each approval asks for yours.',
}
