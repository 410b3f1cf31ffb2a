'use strict'
// What is said of the photographs stands before this script and is read at once. Their pictures stand after it, one
// script element each, and each is read when its photograph comes near the window. So the page opens quickly however
// many there are, and can be used while the browser still reads its end.

const photos = []
const main = document.getElementById('photos')
const chosen = { kind: 'all', words: '', order: 'given' }

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') element.textContent = value
    else if (name === 'style') for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each)
    else element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

const percent = share => `${Math.round(100 * share)} %`

// The slider ----------------------------------------------------------------------------------------------------------

function makeCompare(photo, pictures) {
  const before = make('img', { class: 'before', alt: '', draggable: 'false' })
  const after = make('img', { class: 'after', alt: '', draggable: 'false' })
  const slider = make('input', { type: 'range', min: 0, max: 100, value: 50, 'aria-label': `${photo.name}: before and after` })
  const tags = [make('span', { class: 'tag old', text: 'Before' }), make('span', { class: 'tag new', text: 'After' })]
  const line = make('div', { class: 'line' })
  const frame = make('div', { class: 'compare' }, after, before, line, ...tags, slider)
  const caption = make('p', { class: 'faint', 'aria-live': 'polite' })

  const place = value => {
    slider.value = value
    frame.style.setProperty('--at', `${slider.value}%`)
    slider.setAttribute('aria-valuetext', `${slider.value} % before, ${100 - slider.value} % after`)
  }
  const follow = event => {
    const box = frame.getBoundingClientRect()
    place(Math.round((100 * (event.clientX - box.left)) / box.width))
  }
  frame.addEventListener('pointerdown', event => {
    if (event.button !== 0 || frame.classList.contains('still')) return
    frame.setPointerCapture(event.pointerId)
    follow(event)
  })
  frame.addEventListener('pointermove', event => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event)
  })
  slider.addEventListener('input', () => place(slider.value))
  place(50)

  const views = {
    Whole: ['before', 'after', photo.width, photo.height, ''],
    Detail: ['detail_before', 'detail_after', ...photo.detail, `The part that was changed most: ${photo.detail.join(' x ')} px.`],
    Changes: [null, 'change', photo.width, photo.height, 'Where pixels were changed: black not at all, white by 64 of 255 and more.'],
  }
  const buttons = Object.keys(views).map(name => make('button', { type: 'button', text: name }))
  const show = name => {
    const [old, fresh, width, height, text] = views[name]
    for (const button of buttons) button.setAttribute('aria-pressed', button.textContent === name)
    const still = old === null
    frame.className = `compare ${name.toLowerCase()}${still ? ' still' : ''}`
    frame.style.aspectRatio = `${width} / ${height}`
    // as wide as the column, but neither higher than the window nor beyond twice the pixels that there are
    frame.style.width = `min(100%, ${(44 * width) / height}rem, ${2 * width}px)`
    if (still) before.removeAttribute('src')
    else before.src = pictures[old]
    after.src = pictures[fresh]
    before.alt = still ? '' : `${photo.name} before`
    after.alt = still ? `Where ${photo.name} was changed` : `${photo.name} after`
    for (const part of [before, line, slider, ...tags]) part.hidden = still
    for (const part of [before, line, slider, ...tags]) part.style.display = still ? 'none' : ''
    caption.textContent = text
  }
  for (const button of buttons) button.addEventListener('click', () => show(button.textContent))
  show('Whole')
  return make('div', {}, make('div', { class: 'views', role: 'group', 'aria-label': `View of ${photo.name}` }, ...buttons), frame, caption)
}

// What stands beside it -----------------------------------------------------------------------------------------------

function makeBars(scores) {
  return make('ul', { class: 'bars' }, ...scores.map(each => make('li', { class: each.present ? 'present' : 'absent' },
    make('span', { text: each.name }),
    make('span', { class: 'track', 'aria-hidden': 'true' }, make('i', { style: { width: percent(each.score).replace(' ', '') } }), make('b')),
    make('span', { text: `${each.score.toFixed(2)} ${each.word}` }),
  )))
}

function makeFacts(facts) {
  return make('dl', {}, ...facts.flatMap(([name, value]) => [make('dt', { text: name }), make('dd', { text: value })]))
}

function makeRouting(photo, pictures) {
  const blocks = photo.routing.map(block => {
    const [across, down] = block.map_size
    const cells = make('img', { class: 'cells', alt: '', src: block.map, style: { width: `${100 * across}%`, height: `${100 * down}%` } })
    const map = make('div', { class: 'map', role: 'img', 'aria-label': `Map of ${block.title}`, style: { 'aspect-ratio': `${photo.width} / ${photo.height}` } },
      make('img', { class: 'ghost', alt: '', src: pictures.before }), cells)
    const shares = block.experts.map(expert => make('li', {},
      make('span', { text: expert.detail }),
      make('span', { class: 'track', 'aria-hidden': 'true' }, make('i', { style: { width: `${100 * expert.share}%`, background: expert.color } })),
      make('span', { text: percent(expert.share) }),
      make('span', { class: 'band', text: expert.band }),
    ))
    return make('div', { class: 'block' }, make('h3', { text: block.title }), map, make('ul', { class: 'shares' }, ...shares))
  })
  const text = 'Each expert repairs details of one size. The map shows in its color where one works more than elsewhere in the photograph.'
  return make('details', {}, make('summary', { text: 'Which expert worked where' }), ...blocks, make('p', { class: 'faint', text }))
}

function fill(photo) {
  const script = document.getElementById(photo.id.replace('photo', 'pictures'))
  const isWhole = script && (script.nextSibling || document.readyState !== 'loading')
  if (!isWhole) return false
  const pictures = JSON.parse(script.textContent)
  script.remove()
  const seen = photo.guided ? makeBars(photo.scores) : make('p', { text: 'Nothing looked at it: it was restored without guidance.' })
  const parts = [make('h3', { text: 'What was seen' }), seen, make('h3', { text: 'What was changed' }), makeFacts(photo.facts)]
  if (photo.routing.length) parts.push(makeRouting(photo, pictures))
  if (photo.files.length) {
    const links = photo.files.flatMap(([label, address]) => [make('a', { href: address, text: label, 'aria-label': `${label} ${photo.name}` }), ' '])
    parts.push(make('p', { style: { 'margin-top': '1rem' } }, ...links))
  }
  photo.article.append(make('div', { class: 'sides' }, makeCompare(photo, pictures), make('div', {}, ...parts)))
  photo.article.classList.remove('waiting')
  return true
}

// The list ------------------------------------------------------------------------------------------------------------

function makeArticle(photo) {
  const heading = make('h2', { id: `name-${photo.id}` }, photo.name)
  if (photo.width) heading.append(' ', make('small', { text: `${photo.width} x ${photo.height} px` }))
  photo.article = make('article', { class: photo.error ? 'photo failed' : 'photo waiting', 'aria-labelledby': heading.id }, heading)
  if (photo.error) photo.article.append(make('p', { class: 'error', text: photo.error }))
  if (photo.description) photo.article.append(make('p', { class: 'said', text: photo.description }))
  photo.text = `${photo.name} ${photo.description || ''} ${photo.error || ''}`.toLowerCase()
  photo.kinds = photo.error ? ['not restored'] : photo.scores.filter(each => each.present).map(each => each.name)
  if (!photo.error && photo.guided && !photo.kinds.length) photo.kinds = ['nothing wrong']
  photo.damage = photo.error ? -1 : Math.max(0, ...photo.scores.map(each => each.score))
  return photo.article
}

const orders = {
  given: (a, b) => a.index - b.index,
  name: (a, b) => a.name.localeCompare(b.name),
  change: (a, b) => (b.change ?? -1) - (a.change ?? -1),
  damage: (a, b) => b.damage - a.damage,
}

function choose() {
  let shown = 0
  for (const photo of photos) {
    const fits = (chosen.kind === 'all' || photo.kinds.includes(chosen.kind)) && photo.text.includes(chosen.words)
    photo.article.hidden = !fits
    shown += fits
  }
  const restored = photos.filter(photo => !photo.error).length
  const failed = photos.length - restored
  const parts = [`${restored} photograph${restored === 1 ? '' : 's'}`]
  if (failed) parts.push(`${failed} that could not be restored`)
  if (shown < photos.length) parts.push(`${shown} shown`)
  document.getElementById('summary').textContent = parts.join(', ')
}

function makeKinds() {
  const counts = new Map()
  for (const photo of photos) for (const kind of photo.kinds) counts.set(kind, (counts.get(kind) || 0) + 1)
  const sorted = [...counts].sort((a, b) => b[1] - a[1])
  const buttons = [['all', photos.length], ...sorted].map(([kind, count]) => {
    const button = make('button', { type: 'button', text: `${kind} ${count}`, 'aria-pressed': kind === 'all' })
    button.addEventListener('click', () => {
      chosen.kind = kind
      for (const each of buttons) each.setAttribute('aria-pressed', each === button)
      choose()
    })
    return button
  })
  document.getElementById('kinds').append(...buttons)
}

const near = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) wanted.add(target.photo)
    else wanted.delete(target.photo)
  }
  fillWanted()
}, { rootMargin: '600px' })

const wanted = new Set()
function fillWanted() {
  for (const photo of wanted) {
    if (!fill(photo)) continue
    near.unobserve(photo.article)
    wanted.delete(photo)
  }
  if (wanted.size && document.readyState === 'loading') setTimeout(fillWanted, 50)
}
document.addEventListener('DOMContentLoaded', fillWanted)

for (const script of document.querySelectorAll('script.photo')) {
  const photo = Object.assign(JSON.parse(script.textContent), { id: script.id, index: photos.length })
  photos.push(photo)
  makeArticle(photo).photo = photo
}
main.append(...photos.map(photo => photo.article))
for (const photo of photos) if (!photo.error) near.observe(photo.article)
makeKinds()
choose()

document.getElementById('choose').addEventListener('submit', event => event.preventDefault())
document.getElementById('words').addEventListener('input', event => {
  chosen.words = event.target.value.trim().toLowerCase()
  choose()
})
document.getElementById('order').addEventListener('change', event => {
  main.append(...[...photos].sort(orders[event.target.value]).map(photo => photo.article))
})
document.documentElement.dataset.ready = 'true'
