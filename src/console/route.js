// Where the page is: `#/leases/lse_…`. In: the address. Out: view and id, and a way to go elsewhere.
import { useEffect, useState } from 'preact/hooks'

/** @typedef {{ view: string, id: string | undefined }} Route */

/** @returns {Route} */
function read() {
  const [, view = 'inbox', id] = location.hash.split('/')
  return { view, id: id === undefined || id === '' ? undefined : decode(id) }
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The route, as it changes. */
export function useRoute() {
  const [route, setRoute] = useState(read)
  useEffect(() => {
    const update = () => setRoute(read())
    addEventListener('hashchange', update)
    return () => removeEventListener('hashchange', update)
  }, [])
  return route
}

/** @param {string} view @param {string} [id] */
export function navigate(view, id) {
  location.hash = id === undefined ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`
}
