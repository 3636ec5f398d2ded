"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // ---- the ranking: sorting, filtering, columns
  const table = document.querySelector("table.ranking");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];

    const value = (row, column) => {
      const cell = row.cells[column];
      if (column === 0) return row.dataset.name.toLowerCase();
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };

    const sort = (column, descending) => {
      const sign = descending ? -1 : 1;
      const keyed = rows.map((row, place) => ({ row, place, key: value(row, column) }));
      keyed.sort((a, b) => {
        if (a.key === null || b.key === null) {
          return (a.key === null) - (b.key === null) || a.place - b.place; // absent values come last either way
        }
        const order = typeof a.key === "string" ? a.key.localeCompare(b.key, "en", { numeric: true }) : a.key - b.key;
        return sign * order || a.place - b.place;
      });
      body.append(...keyed.map((k) => k.row));
      heads.forEach((head, i) => {
        if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
    };

    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const bestLast = head.dataset.descending === "true";
        sort(column, now === null ? bestLast : now === "ascending");
      });
    });

    const text = document.querySelector("#filter-text");
    const family = document.querySelector("#filter-family");
    const count = document.querySelector("#filter-count");
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const name = row.dataset.name.toLowerCase();
        const fits = words.every((w) => name.includes(w)) && (family.value === "" || row.dataset.family === family.value);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      count.textContent = shown === rows.length ? `all ${rows.length}` : `${shown} of ${rows.length} shown`;
    };
    text.addEventListener("input", filter);
    family.addEventListener("change", filter);

    const all = document.querySelector("#all-columns");
    const columns = () => table.classList.toggle("compact", !all.checked);
    all.addEventListener("change", columns);
    columns();
    const latex = document.querySelector("#latex");
    if (latex) {
      const copied = document.querySelector("#copied");
      document.querySelector("#copy-latex").addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(latex.value);
          copied.textContent = "copied";
        } catch {
          latex.hidden = false; // where a page may not write to the clipboard, the reader can
          latex.select();
          copied.textContent = document.execCommand("copy") ? "copied" : "selected: copy it with the keyboard";
        }
      });
    }
    filter(); // a browser may keep what was typed when the page is loaded again
  }

  // ---- cards: the address names the one that is open
  const cards = [...document.querySelectorAll("dialog.card")];
  const named = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    return cards.find((card) => card.id === id);
  };
  const follow = () => {
    const wanted = named();
    for (const card of cards) if (card.open && card !== wanted) card.close();
    if (wanted && !wanted.open) wanted.showModal();
    if (wanted) wanted.scrollTop = 0;
  };
  for (const card of cards) {
    card.addEventListener("close", () => {
      if (named() !== card) return; // another one was opened
      history.replaceState(null, "", location.pathname + location.search);
      document.querySelector(`a[href="#${CSS.escape(card.id)}"]`)?.focus();
    });
    card.addEventListener("click", (event) => {
      if (event.target === card || event.target.closest("[data-close]")) card.close();
      const step = event.target.closest("[data-step]");
      if (step) location.hash = step.dataset.step;
    });
  }
  window.addEventListener("hashchange", follow);
  follow();

  // ---- paper shows everything
  const opened = [];
  const paper = (printing) => {
    if (printing) {
      for (const card of cards) if (card.open) card.close();
      for (const part of document.querySelectorAll("details:not([open])")) {
        part.open = true;
        opened.push(part);
      }
    } else {
      while (opened.length) opened.pop().open = false;
    }
  };
  window.addEventListener("beforeprint", () => paper(true));
  window.addEventListener("afterprint", () => paper(false));
  matchMedia("print").addEventListener("change", (query) => paper(query.matches));
})();
