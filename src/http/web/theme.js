/* Sets the theme that was chosen before the page is painted, so that it does not flash. A classic script for that reason:
 * modules run too late. 'auto', and every first visit, leaves the choice to prefers-color-scheme (app.css). */
try {
    const theme = localStorage.getItem('penstock.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
    /* Storage is switched off: the system's theme it is. */
}
