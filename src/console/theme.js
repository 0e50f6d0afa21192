// Light or dark: as the machine says, or as somebody has chosen here. Keeps that one word in localStorage.
const key = 'leasegate-theme'

/** @typedef {'auto' | 'light' | 'dark'} Theme */
/** @type {readonly Theme[]} */
export const themes = ['auto', 'light', 'dark']

/** @returns {Theme} */
export function theme() {
  const kept = localStorage.getItem(key)
  return themes.find((each) => each === kept) ?? 'auto'
}

export function applyTheme() {
  document.documentElement.dataset.theme = theme()
}

/** @param {Theme} next */
export function setTheme(next) {
  localStorage.setItem(key, next)
  applyTheme()
  dispatchEvent(new Event('themechange'))
}
