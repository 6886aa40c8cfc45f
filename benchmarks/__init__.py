"""What is measured, and how: `make bench` writes RESULTS.md. Figures are ratios in one run or rows per CPU second."""
